import { askMirror } from "../mirror/ask-mirror.ts";
import { EXIT } from "../errors/codes.ts";
import { type InitiateOptions, initiateTable } from "../options/initiate-options.ts";
import { exitCodeOfOrder } from "../report/order-exit-code.ts";
import { createOrderReport } from "../report/order-report.ts";
import type { OrderCommand } from "../wire/order.ts";
import { defineDrayCommand } from "./command.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const initiateCommand = defineDrayCommand({ table: initiateTable, run: runInitiate });

async function runInitiate(options: InitiateOptions): Promise<number> {
  const { json, timeoutMs } = options;
  const mirror = { host: options.mirror, port: options.port };
  const { stdout, stderr } = process;
  const report = createOrderReport({ json, stdout, stderr, now: () => performance.now() });
  return untilInterrupted(async (signal) => {
    let shown: Promise<void> = Promise.resolve();
    let unshown = 0;
    try {
      const settings = { agent: AGENT, timeoutMs };
      const last = await askMirror(
        mirror,
        commandOf(options),
        settings,
        (event) => {
          // Whoever reads our output slowly misses progress, which is out of date by then anyway.
          if (event.type === "progress" && unshown > 0) return;
          unshown++;
          shown = shown.then(() => report.event(event)).then(() => void unshown--);
        },
        signal,
      );
      return exitCodeOf(last, options);
    } finally {
      await shown;
      await report.close();
    }
  });
}

function commandOf(options: InitiateOptions): OrderCommand {
  const { sources, attempts, patienceMs, include, exclude, everyMs, follow, cancel, retryFailed } = options;
  if (follow !== undefined) return { do: "follow", orderId: follow };
  if (cancel !== undefined) return { do: "cancel", orderId: cancel };
  if (retryFailed !== undefined) return { do: "retry", orderId: retryFailed };
  if (sources === undefined) return { do: "list" };
  const every = everyMs === undefined ? {} : { everyMs };
  return { do: "give", order: { sources, attempts, patienceMs, include, exclude, ...every } };
}

/** An order that somebody cancelled while we followed it has not done what was asked. */
function exitCodeOf(last: Awaited<ReturnType<typeof askMirror>>, options: InitiateOptions): number {
  if (last.type === "result") return exitCodeOfOrder(last);
  return last.type === "cancelled" && options.cancel === undefined ? EXIT.partial : EXIT.ok;
}
