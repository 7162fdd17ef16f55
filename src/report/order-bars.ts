import { Writable } from "node:stream";
import { MultiBar } from "cli-progress";
import type { SourceResult } from "../wire/order.ts";
import { barLineCount, barScreen } from "./bar-screen.ts";
import { OrderMeter, type ProgressEvent } from "./order-meter.ts";

const FRAMES_PER_SECOND = 5;
const CLEAR_BELOW = "\x1b[J";

/** A terminal to draw on: `process.stderr` when it is a TTY. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  on(event: "resize", listener: () => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

/**
 * The progress bars of one order on a terminal: one for the total and one per source. No mode of
 * the terminal is ever changed (cursor, line wrapping), so a killed process leaves it in order.
 */
export class OrderBars {
  readonly meter = new OrderMeter();
  readonly #terminal: Terminal;
  readonly #write: (text: string) => void;
  readonly #now: () => number;
  #bars: MultiBar | undefined;
  #frame: Frame | undefined;
  #lines: string[] = [];
  #lineCount = 0;
  #columns = 0;

  /** `now` in milliseconds, monotonic. */
  constructor(terminal: Terminal, write: (text: string) => void, now: () => number) {
    this.#terminal = terminal;
    this.#write = write;
    this.#now = now;
    terminal.on("resize", this.#relayout);
  }

  progress(event: ProgressEvent): void {
    this.meter.progress(event, this.#now());
    this.#relayout();
  }

  sourceEnded(source: SourceResult): void {
    this.meter.sourceEnded(source);
  }

  /** Prints a line above the bars; it must be free of control characters. */
  print(line: string): void {
    if (this.#bars === undefined) {
      this.#write(`${line}\n`);
      return;
    }
    // The bars are drawn anew below it, and what is left of the old ones must not show through.
    this.#bars.log(`${CLEAR_BELOW}${line}\n`);
    this.#bars.update();
  }

  /** Takes the bars off the screen, the cursor at the start of their first line. */
  close(): void {
    this.#terminal.off("resize", this.#relayout);
    this.#clear();
  }

  readonly #relayout = (): void => {
    if (!this.meter.started) return;
    const columns = this.#terminal.columns || 80;
    const lineCount = barLineCount(this.meter.sourceCount, this.#terminal.rows || 24);
    if (this.#bars !== undefined && lineCount === this.#lineCount && columns === this.#columns) return;
    this.#clear();
    this.#lineCount = lineCount;
    this.#columns = columns;
    this.#draw();
  };

  #draw(): void {
    const frame = createFrame(this.#write);
    const bars = new MultiBar({
      stream: frame.stream,
      fps: FRAMES_PER_SECOND,
      format: (_options, _params, payload: { line: number }) => this.#lines[payload.line] ?? "",
      // Here `true` means "leave the terminal's wrapping alone".
      linewrap: true,
      // A line that was printed above moves every bar down, those without news too.
      forceRedraw: true,
      clearOnComplete: true,
    });
    bars.on("update-pre", () => {
      this.#lines = barScreen(this.meter, this.#lineCount, this.#columns, this.#now());
    });
    bars.on("update-post", () => frame.flush());
    for (let line = 0; line < this.#lineCount; line += 1) bars.create(1, 0, { line });
    this.#bars = bars;
    this.#frame = frame;
    bars.update();
  }

  #clear(): void {
    this.#bars?.stop();
    this.#frame?.flush();
    this.#bars = undefined;
    this.#frame = undefined;
  }
}

interface Frame {
  stream: NodeJS.WritableStream;
  flush: () => void;
}

/** Collects the many small writes of a redraw into one, so that no half-drawn screen is seen. */
function createFrame(write: (text: string) => void): Frame {
  let pending = "";
  const collecting = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      pending += text;
      done();
    },
  });
  // Lines are already cut to the terminal's width, in columns; cli-progress would cut them again, in UTF-16 units.
  const stream = Object.assign(collecting, { isTTY: true, columns: Number.MAX_SAFE_INTEGER });
  return {
    stream,
    flush: () => {
      write(pending);
      pending = "";
    },
  };
}
