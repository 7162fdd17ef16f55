import type { OrderResult, OrderSummary } from "../../src/wire/order.ts";
import { runDray, startDray } from "./process.ts";
import { type Finished, type Program } from "./program.ts";
import { type WaitOptions } from "./wait.ts";

/** What people ask a mirror about its orders, on the command line. */
export class MirrorOrders {
  readonly #port: number;

  constructor(mirror: { port: number }) {
    this.#port = mirror.port;
  }

  /** Runs `dray initiate` with these flags to its end. */
  async ask(flags: readonly string[], options: WaitOptions = {}): Promise<Finished> {
    return runDray(["initiate", "-p", String(this.#port), ...flags], options);
  }

  /** The same with `--json`, without waiting for its end. */
  start(...flags: string[]): Program {
    return startDray(["initiate", "-p", String(this.#port), "--json", ...flags]);
  }

  async list(): Promise<OrderSummary[]> {
    const { code, events, stderr } = await this.ask(["--list", "--json"]);
    const last = events.at(-1);
    if (code !== 0 || last?.type !== "orders" || last["count"] !== events.length - 1) {
      throw new Error(`Not a list of orders: ${code} ${JSON.stringify(events)} ${stderr}`);
    }
    return events.slice(0, -1) as unknown as OrderSummary[];
  }

  async state(orderId: string): Promise<string | undefined> {
    return (await this.list()).find((order) => order.orderId === orderId)?.state;
  }
}

/** The result that an initiator ended with. Throws when it ended without one. */
export function resultOf({ events, code, stderr }: Finished): OrderResult {
  const last = events.at(-1);
  if (last?.type !== "result") throw new Error(`Ended with ${code} and without a result: ${stderr}`);
  return last as unknown as OrderResult;
}
