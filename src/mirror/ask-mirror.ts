import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { type DialTarget, showTarget } from "../net/dial.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import { CAPABILITY, MAX_ORDER_BYTES } from "../wire/messages.ts";
import { LAST_EVENTS, type OrderCommand, type OrderEvent, orderEventSchema } from "../wire/order.ts";

/** The first pause between attempts to reach the mirror. */
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 2_000;

/**
 * Asks something of a mirror and follows the answer to its end (seed 000, "Mirror Initiator").
 *
 * An order goes on without us. When the connection is lost, or the mirror restarts, it is found
 * again and followed from there.
 *
 * @param settings `timeoutMs` is how long the mirror is tried before it counts as unreachable
 * @param event told of every event, the last one included
 * @param signal leaves
 * @returns the last event: "result", "orders" or "cancelled"
 * @throws DrayError when the mirror cannot be reached, refuses, or stays away
 */
export async function askMirror(
  mirror: DialTarget,
  command: OrderCommand,
  settings: ClientSettings,
  event: (event: OrderEvent) => void,
  signal: AbortSignal,
): Promise<OrderEvent> {
  const shown = showTarget(mirror);
  let following: OrderCommand = command;
  let isAccepted = false;
  for (;;) {
    const client = await unlessAborted(connect(mirror, settings), signal).catch((error: unknown) => {
      const what =
        isAccepted && following.do === "follow"
          ? `Lost sight of order ${following.orderId}, which goes on: cannot reach the mirror at ${shown} again`
          : `Cannot reach the mirror at ${shown}`;
      throw withContext(what, error);
    });
    try {
      return await follow(client, following, signal, (told) => {
        if (told.type === "accepted") {
          isAccepted = true;
          following = { do: "follow", orderId: told.orderId };
        }
        event(told);
      });
    } catch (error) {
      const known = asDrayError(error);
      if (!isAccepted || following.do !== "follow")
        throw withContext(`The mirror at ${shown} did not take it`, error);
      if (known.code !== "closed" && known.code !== "timeout") {
        throw withContext(`Lost sight of order ${following.orderId} at ${shown}`, error);
      }
    }
  }
}

/** @returns the last event of the answer */
async function follow(
  client: Client,
  command: OrderCommand,
  signal: AbortSignal,
  event: (event: OrderEvent) => void,
): Promise<OrderEvent> {
  const json = JSON.stringify(command);
  if (Buffer.byteLength(json) > MAX_ORDER_BYTES) {
    throw new DrayError("usage", `the order is over ${MAX_ORDER_BYTES} bytes: split it into several`);
  }
  const leave = (): void =>
    client.close(new DrayError("interrupted", "stopped following; the order goes on"));
  signal.addEventListener("abort", leave);
  try {
    signal.throwIfAborted();
    client.require(CAPABILITY.orders, "mirroring");
    let last: OrderEvent | undefined;
    await client.order(json, (eventJson) => {
      const parsed = parseEvent(eventJson);
      if (parsed === undefined) return false;
      event(parsed);
      if (LAST_EVENTS.includes(parsed.type)) last = parsed;
      return last !== undefined;
    });
    return last!;
  } finally {
    signal.removeEventListener("abort", leave);
    client.close();
  }
}

async function connect(mirror: DialTarget, settings: ClientSettings): Promise<Client> {
  const startedMs = performance.now();
  for (let delayMs = FIRST_RETRY_MS; ; delayMs = Math.min(delayMs * 2, MAX_RETRY_MS)) {
    const leftMs = settings.timeoutMs - (performance.now() - startedMs);
    try {
      return await Client.connect(mirror, { ...settings, timeoutMs: Math.max(1, leftMs) });
    } catch (error) {
      const waitMs = error instanceof DrayError ? Math.max(delayMs, error.retryAfterMs) : delayMs;
      const stillLeftMs = settings.timeoutMs - (performance.now() - startedMs);
      const isWorthIt = error instanceof DrayError && error.retryable && waitMs < stillLeftMs;
      if (!isWorthIt) throw error;
      await Bun.sleep(waitMs);
    }
  }
}

/** A connection that comes after the signal is closed again. */
async function unlessAborted(connecting: Promise<Client>, signal: AbortSignal): Promise<Client> {
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

const KNOWN_EVENTS = new Set(orderEventSchema.options.map((option) => option.shape.type.value as string));
