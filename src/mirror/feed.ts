import type { OrderRequest } from "../wire/order.ts";
import type { Endpoint } from "./endpoint.ts";
import type { JobMode } from "./job.ts";
import type { OrderRun } from "./order-run.ts";
import type { SourceRun } from "./source-run.ts";

/** One source of one order, from its list to its last file. */
export interface Feed {
  id: string;
  orderId: string;
  position: number;
  request: OrderRequest;
  order: OrderRun;
  run: SourceRun;
  endpoint: Endpoint;
  /** The directory below the mirror's that holds this source: "host_port". */
  sourceDirectory: string;
  abort: AbortController;
  isListing: boolean;
  mode: JobMode;
  /** Whether items that are settled are looked up later: all of them have to be in the journal. */
  keepsItems: boolean;
  /** Whether nothing of it was in the mirror when it was listed: then its files replace nothing. */
  isNew: boolean;
  /** When it was last listed, in milliseconds since 1970. */
  listedAtMs: number;
  /** Whether another order has written, or may have, where this one deletes. */
  hadCompany: boolean;
  /** Whether what the source does not have any more is being deleted, or has been. */
  pruning: "due" | "running" | "done";
  /** A new list makes the outcomes of jobs from the old one void. */
  generation: number;
  /** The last item that went into the queue. */
  cursor: number;
  pass: number;
  passTimer: Timer | undefined;
  /** Its source stays away: all that is not settled counts as failed. */
  isGivenUp: boolean;
  isEnded: boolean;
}

/** Whether an order's items can be asked for when it has ended. */
export function isItemized({ itemize, dryRun }: OrderRequest): boolean {
  return itemize === true || dryRun === true;
}

/** A source of an order before anything was done for it. */
export function newFeed(order: OrderRun, request: OrderRequest, position: number, endpoint: Endpoint): Feed {
  const run = order.sources[position]!;
  const { host, port } = run.source;
  const { orderId } = order;
  return {
    id: `${orderId}/${position}`,
    orderId,
    position,
    request,
    order,
    run,
    endpoint,
    sourceDirectory: `${host}_${port}`,
    abort: new AbortController(),
    isListing: false,
    mode: {
      checksum: request.checksum === true,
      verify: request.verify === true,
      prunes: request.delete !== undefined,
      dryRun: request.dryRun === true,
    },
    keepsItems: request.delete !== undefined || isItemized(request),
    isNew: false,
    listedAtMs: Date.now(),
    hadCompany: false,
    pruning: request.delete === undefined ? "done" : "due",
    generation: 0,
    cursor: 0,
    pass: 0,
    passTimer: undefined,
    isGivenUp: false,
    isEnded: false,
  };
}
