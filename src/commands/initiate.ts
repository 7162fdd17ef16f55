import { askMirror } from "../mirror/ask-mirror.ts";
import { EXIT } from "../errors/codes.ts";
import { type InitiateOptions, initiateTable } from "../options/initiate-options.ts";
import { exitCodeOfOrder } from "../report/order-exit-code.ts";
import { createOrderReport } from "../report/order-report.ts";
import type { OrderCommand, OrderEvent } from "../wire/order.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { clientSecurity } from "./doors.ts";
import { orderCommandOf } from "./order-command.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const initiateCommand = defineDrayCommand({ table: initiateTable, run: runInitiate });

async function runInitiate(options: InitiateOptions, io: CommandIo): Promise<number> {
  const { json, timeoutMs } = options;
  const mirror = { host: options.mirror, port: options.port };
  const { stdout, stderr } = process;
  const security = await clientSecurity(options, (message) => io.log.warn(message));
  const report = await createOrderReport({ json, stdout, stderr, now: () => performance.now() });
  return untilInterrupted(async (signal) => {
    let shown: Promise<void> = Promise.resolve();
    let unshown = 0;
    const show = (event: OrderEvent): void => {
      // Whoever reads our output slowly misses progress, which is out of date by then anyway.
      if (event.type === "progress" && unshown > 0) return;
      unshown++;
      shown = shown.then(() => report.event(event)).then(() => void unshown--);
    };
    const ask = (command: OrderCommand, event: (event: OrderEvent) => void): Promise<OrderEvent> =>
      askMirror(mirror, command, { agent: AGENT, timeoutMs, security }, event, signal);
    try {
      const last = await ask(orderCommandOf(options), (event) => {
        if (event.type !== "result") show(event);
      });
      if (last.type !== "result") return exitCodeOf(last, options);
      for (let after: number | undefined = wantsItems(options) ? 0 : undefined; after !== undefined;) {
        const page = await ask({ do: "items", orderId: last.orderId, after }, (event) => {
          if (event.type === "item") show(event);
        });
        // The next page is asked for when this one has been read.
        await shown;
        after = page.type === "items" ? page.next : undefined;
      }
      show(last);
      return exitCodeOf(last, options);
    } finally {
      await shown;
      await report.close();
    }
  });
}

/** What an order that was given before did, only the mirror knows whether it kept. */
function wantsItems({ sources, dryRun, itemize }: InitiateOptions): boolean {
  return sources !== undefined && (dryRun || itemize);
}

/** An order that somebody cancelled while we followed it has not done what was asked. */
function exitCodeOf(last: Awaited<ReturnType<typeof askMirror>>, options: InitiateOptions): number {
  if (last.type === "result") return exitCodeOfOrder(last);
  return last.type === "cancelled" && options.cancel === undefined ? EXIT.partial : EXIT.ok;
}
