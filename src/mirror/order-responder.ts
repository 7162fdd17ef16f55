import type { FillResult, OutBuffer, Responder } from "../transfer/responder.ts";
import { LAST_EVENTS, type OrderEvent } from "../wire/order.ts";

/**
 * Sends an order's events to the initiator that gave it. A slow initiator misses progress, never
 * anything else, and holds up nobody.
 */
export class OrderResponder implements Responder {
  readonly #requestId: number;
  readonly #wake: () => void;
  readonly #leave: () => void;
  #waiting: OrderEvent[] = [];

  /** @param leave called when the initiator is gone or has everything */
  constructor(requestId: number, wake: () => void, leave: () => void) {
    this.#requestId = requestId;
    this.#wake = wake;
    this.#leave = leave;
  }

  take(event: OrderEvent): void {
    if (event.type === "progress")
      this.#waiting = this.#waiting.filter((waiting) => waiting.type !== "progress");
    this.#waiting.push(event);
    this.#wake();
  }

  fill(out: OutBuffer): FillResult {
    for (let event = this.#waiting[0]; event !== undefined; event = this.#waiting[0]) {
      const message = { type: "event", json: JSON.stringify(event) } as const;
      if (!out.fits(message)) return "more";
      out.put(message, this.#requestId);
      this.#waiting.shift();
      if (LAST_EVENTS.includes(event.type)) return "done";
    }
    return "waiting";
  }

  release(): void {
    this.#waiting = [];
    this.#leave();
  }
}
