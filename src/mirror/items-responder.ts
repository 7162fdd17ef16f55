import type { FillResult, OutBuffer, Responder } from "../transfer/responder.ts";
import type { OrderEvent, OrderItem, OrderRequest } from "../wire/order.ts";
import { ITEM_STATE } from "./journal-schema.ts";
import type { Journal, JournaledItem } from "./journal.ts";

/** How many items are read from the journal at once. */
const PAGE_ITEMS = 256;
/** In one answer: whoever asks takes them all before it asks for more. */
const MAX_TOLD = 4096;

/** Sends what an order did, or a dry run would do, item by item as the initiator takes it. */
export class ItemsResponder implements Responder {
  readonly #journal: Journal;
  readonly #orderId: string;
  readonly #sources: OrderRequest["sources"];
  readonly #requestId: number;
  #page: (JournaledItem & { position: number })[] = [];
  #lastId = 0;
  #isAtEnd = false;
  #isMore = false;
  #told = 0;

  /** @param afterId where an earlier answer ended */
  constructor(
    journal: Journal,
    orderId: string,
    sources: OrderRequest["sources"],
    afterId: number,
    requestId: number,
  ) {
    this.#journal = journal;
    this.#orderId = orderId;
    this.#sources = sources;
    this.#lastId = afterId;
    this.#requestId = requestId;
  }

  fill(out: OutBuffer): FillResult {
    for (;;) {
      if (this.#page.length === 0 && !this.#isAtEnd) this.#read();
      const item = this.#page[0];
      const event = item === undefined ? this.#end() : this.#eventOf(item);
      if (event !== undefined) {
        const message = { type: "event", json: JSON.stringify(event) } as const;
        if (!out.fits(message)) return "more";
        out.put(message, this.#requestId);
        if (item !== undefined) this.#told++;
      }
      if (item === undefined) return "done";
      this.#page.shift();
    }
  }

  release(): void {}

  #read(): void {
    this.#page = this.#journal.toTell(this.#orderId, this.#lastId, PAGE_ITEMS);
    this.#isAtEnd = this.#page.length < PAGE_ITEMS || this.#told >= MAX_TOLD;
    this.#isMore = this.#page.length === PAGE_ITEMS;
    this.#lastId = this.#page.at(-1)?.id ?? this.#lastId;
  }

  #end(): OrderEvent {
    return { type: "items", count: this.#told, ...(this.#isMore ? { next: this.#lastId } : {}) };
  }

  /** Directories are not told: they follow from what is in them. */
  #eventOf({
    kind,
    state,
    path,
    sizeBytes,
    message,
    position,
  }: JournaledItem & { position: number }): OrderItem | undefined {
    const source = this.#sources[position];
    if (kind === "directory" || source === undefined) return undefined;
    const { host, port } = source;
    const action = state === ITEM_STATE.pruned ? "delete" : kind === "symlink" ? "link" : "fetch";
    const { orderId, reason } = { orderId: this.#orderId, reason: message ?? "" };
    return { type: "item", orderId, host, port, path, action, kind, sizeBytes, reason };
  }
}
