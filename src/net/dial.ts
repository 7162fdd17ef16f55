import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Backoff, delayAfterAttempt } from "./backoff.ts";
import { Connection, type ConnectionSlot, connectionHandlers } from "./connection.ts";

export interface DialTarget {
  host: string;
  port: number;
}

/** "example.org:9000", "[::1]:9000". */
export function showTarget({ host, port }: DialTarget): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Opens a connection. `ready` is called in the tick in which it opens, to attach the events before
 * the first byte can arrive.
 * @throws DrayError "unreachable" or "timeout"
 */
export async function dial<T>(
  target: DialTarget,
  timeoutMs: number,
  ready: (connection: Connection) => T,
): Promise<T> {
  const shown = showTarget(target);
  const opened = Promise.withResolvers<T>();
  let givenUp = false;
  const timer = setTimeout(() => {
    givenUp = true;
    opened.reject(new DrayError("timeout", `no connection within ${Math.round(timeoutMs) / 1000} s`));
  }, timeoutMs);
  const handlers = connectionHandlers((socket) => {
    if (givenUp) return void socket.terminate();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    const connection = new Connection(socket, shown);
    socket.data.connection = connection;
    opened.resolve(ready(connection));
  });
  const slot: ConnectionSlot = { connection: undefined };
  Bun.connect({
    hostname: target.host,
    port: target.port,
    allowHalfOpen: true,
    data: slot,
    socket: handlers,
  }).catch((error: unknown) => {
    const known = asDrayError(error);
    const code = known.code === "timeout" ? "timeout" : "unreachable";
    opened.reject(new DrayError(code, known.message, { cause: error }));
  });
  try {
    return await opened.promise;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Tries an action again while its error says that this can help, with growing pauses.
 * @throws the last error
 */
export async function withRetry<T>(backoff: Backoff, action: (attempt: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action(attempt);
    } catch (error) {
      const known = asDrayError(error);
      const delayMs = known.retryable ? delayAfterAttempt(backoff, attempt, Math.random()) : undefined;
      if (delayMs === undefined) throw known;
      await Bun.sleep(Math.max(delayMs, known.retryAfterMs));
    }
  }
}
