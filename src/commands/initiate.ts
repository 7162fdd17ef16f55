import { giveOrder } from "../mirror/give-order.ts";
import { initiateTable, type InitiateOptions } from "../options/initiate-options.ts";
import { exitCodeOfOrder } from "../report/order-exit-code.ts";
import { createOrderReport } from "../report/order-report.ts";
import { defineDrayCommand } from "./command.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const initiateCommand = defineDrayCommand({ table: initiateTable, run: runInitiate });

async function runInitiate(options: InitiateOptions): Promise<number> {
  const { json, sources, timeoutMs } = options;
  const mirror = { host: options.mirror, port: options.port };
  const { stdout, stderr } = process;
  const report = createOrderReport({ json, stdout, stderr, now: () => performance.now() });
  return untilInterrupted(async (signal) => {
    let shown: Promise<void> = Promise.resolve();
    let unshown = 0;
    try {
      const settings = { agent: AGENT, timeoutMs };
      const result = await giveOrder(
        mirror,
        { sources },
        settings,
        (event) => {
          // Whoever reads our output slowly misses progress, which is out of date by then anyway.
          if (event.type === "progress" && unshown > 0) return;
          unshown++;
          shown = shown.then(() => report.event(event)).then(() => void unshown--);
        },
        signal,
      );
      await shown;
      return exitCodeOfOrder(result);
    } finally {
      await shown;
      await report.close();
    }
  });
}
