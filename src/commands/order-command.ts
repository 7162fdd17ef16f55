import type { InitiateOptions } from "../options/initiate-options.ts";
import type { OrderCommand, OrderRequest } from "../wire/order.ts";

/** What `initiate` was called to ask of the mirror. */
export function orderCommandOf(options: InitiateOptions): OrderCommand {
  const { sources, follow, cancel, retryFailed, limit, bytesPerSecond = 0 } = options;
  if (follow !== undefined) return { do: "follow", orderId: follow };
  if (cancel !== undefined) return { do: "cancel", orderId: cancel };
  if (retryFailed !== undefined) return { do: "retry", orderId: retryFailed };
  if (limit !== undefined) {
    const order = limit === "all" ? {} : { orderId: limit };
    return { do: "limit", ...order, bytesPerSecond: bytesPerSecond === 0 ? null : bytesPerSecond };
  }
  return sources === undefined ? { do: "list" } : { do: "give", order: orderOf(options, sources) };
}

/** What is not wished for is not in the order: an older mirror takes it, too. */
function orderOf(options: InitiateOptions, sources: OrderRequest["sources"]): OrderRequest {
  const { attempts, patienceMs, include, exclude, everyMs, links, bytesPerSecond = 0 } = options;
  const order: OrderRequest = { sources, attempts, patienceMs, include, exclude };
  if (everyMs !== undefined) order.everyMs = everyMs;
  if (bytesPerSecond !== 0) order.bytesPerSecond = bytesPerSecond;
  if (options.checksum) order.checksum = true;
  if (options.verify) order.verify = true;
  if (links === "copy") order.links = links;
  if (options.delete) order.delete = { maxFiles: options.maxDelete, maxPercent: options.maxDeletePercent };
  if (options.dryRun) order.dryRun = true;
  if (options.itemize) order.itemize = true;
  return order;
}
