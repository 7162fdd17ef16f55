import { syncClientLine, type SyncClientEvent } from "../report/sync-client-lines.ts";
import { countOf } from "../report/units.ts";
import type { CommandIo } from "./command.ts";

const LIVE_MS = 500;
const CLEAR_LINE = "\r\u001b[K";

/** What people and programs hear of a running agent: the log, JSON events, a live line on a terminal. */
export class SyncClientView {
  readonly #io: CommandIo;
  readonly #json: boolean;
  readonly #isLive: boolean;
  #timer: Timer | undefined;
  #shown = "";
  #standing = "looking through the folder";
  #sent = 0;
  #received = 0;

  constructor(io: CommandIo, json: boolean) {
    this.#io = io;
    this.#json = json;
    this.#isLive = !json && process.stderr.isTTY && io.log.level >= 3;
  }

  event(event: SyncClientEvent): void {
    if (event.type === "sent") this.#sent++;
    else if (event.type === "received") this.#received++;
    else if (event.type === "connected") this.#standing = `connected to ${event.peer}`;
    else if (event.type === "disconnected") this.#standing = "not connected";
    if (this.#json) return void this.#io.out.event(event);
    const { level, text } = syncClientLine(event);
    this.#clear();
    // On a terminal the live line says it, again and again.
    if (event.type !== "in-sync") this.#io.log[level](text);
    else this.#io.log.debug(text);
  }

  /** Keeps a line at the bottom of the terminal. */
  follow(): void {
    if (!this.#isLive) return;
    this.#timer = setInterval(() => this.#draw(), LIVE_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#clear();
  }

  #draw(): void {
    const line = `${this.#standing}, ${countOf(this.#sent, "file")} sent, ${this.#received} received`;
    if (line !== this.#shown) process.stderr.write(`${CLEAR_LINE}${line}`);
    this.#shown = line;
  }

  #clear(): void {
    if (this.#shown !== "") process.stderr.write(CLEAR_LINE);
    this.#shown = "";
  }
}
