import { DrayError, withContext } from "../errors/dray-error.ts";
import { type DialTarget, showTarget } from "../net/dial.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import { CAPABILITY, MAX_ORDER_BYTES } from "../wire/messages.ts";
import { type OrderEvent, type OrderRequest, type OrderResult, orderEventSchema } from "../wire/order.ts";

/** The first pause between attempts to reach the mirror. */
const FIRST_RETRY_MS = 200;

/**
 * Gives a mirror an order and follows it to its end (seed 000, "Mirror Initiator").
 * @param settings `timeoutMs` is how long the mirror is tried before it counts as unreachable
 * @param event told of every event, the result included
 * @param signal leaves; the order goes on without us
 * @throws DrayError when the mirror cannot be reached, refuses the order, or goes away
 */
export async function giveOrder(
  mirror: DialTarget,
  request: OrderRequest,
  settings: ClientSettings,
  event: (event: OrderEvent) => void,
  signal?: AbortSignal,
): Promise<OrderResult> {
  const json = JSON.stringify(request);
  if (Buffer.byteLength(json) > MAX_ORDER_BYTES) {
    throw new DrayError("usage", `the order is over ${MAX_ORDER_BYTES} bytes: split it into several`);
  }
  const shown = showTarget(mirror);
  const client = await unlessAborted(connect(mirror, settings), signal).catch((error: unknown) => {
    throw withContext(`Cannot reach the mirror at ${shown}`, error);
  });
  const leave = (): void =>
    client.close(new DrayError("interrupted", "stopped following; the order goes on"));
  signal?.addEventListener("abort", leave);
  try {
    client.require(CAPABILITY.orders, "mirroring");
    let result: OrderResult | undefined;
    let isAccepted = false;
    try {
      await client.order(json, (eventJson) => {
        const parsed = parseEvent(eventJson);
        if (parsed === undefined) return false;
        isAccepted = true;
        event(parsed);
        if (parsed.type === "result") result = parsed;
        return parsed.type === "result";
      });
    } catch (error) {
      const what = isAccepted
        ? `Lost sight of the order at ${shown}`
        : `The mirror at ${shown} did not take the order`;
      throw withContext(what, error);
    }
    return result!;
  } finally {
    signal?.removeEventListener("abort", leave);
    client.close();
  }
}

async function connect(mirror: DialTarget, settings: ClientSettings): Promise<Client> {
  const startedMs = performance.now();
  for (let delayMs = FIRST_RETRY_MS; ; delayMs *= 2) {
    const leftMs = settings.timeoutMs - (performance.now() - startedMs);
    try {
      return await Client.connect(mirror, { ...settings, timeoutMs: Math.max(1, leftMs) });
    } catch (error) {
      const waitMs = error instanceof DrayError ? Math.max(delayMs, error.retryAfterMs) : delayMs;
      const isWorthIt = error instanceof DrayError && error.retryable && waitMs < leftMs;
      if (!isWorthIt) throw error;
      await Bun.sleep(waitMs);
    }
  }
}

/** A connection that comes after the signal is closed again. */
async function unlessAborted(connecting: Promise<Client>, signal: AbortSignal | undefined): Promise<Client> {
  if (signal === undefined) return connecting;
  const aborted = Promise.withResolvers<never>();
  const abort = (): void =>
    aborted.reject(new DrayError("interrupted", "stopped before the order was given"));
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    connecting.then(
      (client) => client.close(),
      () => {}, // it is what was thrown, or comes second to the signal
    );
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** An event of a kind that a newer mirror sends is passed over. */
function parseEvent(eventJson: string): OrderEvent | undefined {
  const parsed: unknown = JSON.parse(eventJson);
  const checked = orderEventSchema.safeParse(parsed);
  if (checked.success) return checked.data;
  const type = typeof parsed === "object" && parsed !== null && "type" in parsed ? parsed.type : undefined;
  if (typeof type === "string" && !KNOWN_EVENTS.has(type)) return undefined;
  throw new DrayError("protocol", "the mirror sent an event that is not as it should be", {
    cause: checked.error,
  });
}

const KNOWN_EVENTS = new Set(["accepted", "progress", "failure", "skipped", "source", "result"]);
