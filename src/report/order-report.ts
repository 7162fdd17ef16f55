import type { OrderEvent } from "../wire/order.ts";
import { jsonLine } from "./json-line.ts";
import type { Terminal } from "./order-bars.ts";
import { acceptedLine, actionLine, ItemLines, noteLine, OrderLines, progressLine } from "./order-lines.ts";
import { resultText } from "./order-result.ts";
import { TextOutput } from "./text-output.ts";

/** What people and programs see of one running order. */
export interface OrderReport {
  /**
   * Shows an event. Await it before reading the next one from the network: it resolves when the
   * reader of our output has room for more, so that a slow reader cannot fill the memory.
   */
  event(event: OrderEvent): Promise<void>;
  /**
   * Ends the report (also of an order whose result never came) and resolves when all of it was
   * written; only then may the process exit. Throws a DrayError when stdout could not take it all
   * (a full disk); a reader that went away (`| head`) is no error.
   */
  close(): Promise<void>;
}

export interface OrderReportOptions {
  /** JSON Lines on stdout for programs, and nothing on stderr. */
  json: boolean;
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream & Terminal & { readonly isTTY?: boolean };
  /** Milliseconds, monotonic: `() => performance.now()`. */
  now: () => number;
}

/** A report with the face that fits: JSON Lines, live bars on a terminal, plain lines elsewhere. */
export async function createOrderReport(options: OrderReportOptions): Promise<OrderReport> {
  const stdout = new TextOutput(options.stdout, "standard output");
  if (options.json) return jsonReport(stdout);
  const stderr = new TextOutput(options.stderr, "standard error");
  const canDrawBars = options.stderr.isTTY === true && process.env["TERM"] !== "dumb";
  return canDrawBars
    ? barsReport(stdout, stderr, options.stderr, options.now)
    : linesReport(stdout, stderr, options.now);
}

function jsonReport(stdout: TextOutput): OrderReport {
  return {
    event: (event) => {
      stdout.write(jsonLine(event));
      return stdout.room();
    },
    close: () => stdout.flush(),
  };
}

function linesReport(stdout: TextOutput, stderr: TextOutput, now: () => number): OrderReport {
  const lines = new OrderLines();
  return {
    event: async (event) => {
      if (event.type === "order") stdout.write(`${noteLine(event)}\n`);
      if (event.type === "item") {
        stdout.write(`${actionLine(event)}\n`);
        await stdout.room();
      }
      for (const line of lines.of(event, now())) stderr.write(`${line}\n`);
      await stderr.room();
      if (event.type !== "result") return;
      // Both streams are often one file: the report comes after the last line about its making.
      await stderr.settled();
      stdout.write(resultText(event));
    },
    close: async () => {
      await stderr.settled();
      await stdout.flush();
    },
  };
}

async function barsReport(
  stdout: TextOutput,
  stderr: TextOutput,
  terminal: Terminal,
  now: () => number,
): Promise<OrderReport> {
  // Loading the bars takes longer than many an order.
  const { OrderBars } = await import("./order-bars.ts");
  const bars = new OrderBars(terminal, (text) => stderr.write(text), now);
  const items = new ItemLines();
  let ended = false;
  return {
    event: async (event) => {
      switch (event.type) {
        case "accepted":
          bars.print(acceptedLine(event.orderId));
          break;
        case "progress":
          bars.progress(event);
          break;
        case "failure":
        case "skipped":
        case "deleted":
        case "rot":
          for (const line of items.of(event)) bars.print(line);
          break;
        case "source":
          bars.sourceEnded(event);
          break;
        case "parked":
        case "resumed":
        case "cancelled":
        case "limited":
          bars.print(noteLine(event));
          break;
        case "order":
          stdout.write(`${noteLine(event)}\n`);
          break;
        case "item":
          bars.close();
          await stderr.settled();
          stdout.write(`${actionLine(event)}\n`);
          return stdout.room();
        case "orders":
        case "items":
          break;
        case "result":
          ended = true;
          bars.close();
          // Both streams are often one terminal: the bars must be gone before the result is there.
          await stderr.settled();
          stdout.write(resultText(event));
      }
    },
    close: async () => {
      bars.close();
      if (!ended && bars.meter.started) stderr.write(`${progressLine(bars.meter, now())}\n`);
      await stderr.settled();
      await stdout.flush();
    },
  };
}
