import type { Socket, SocketHandler } from "bun";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Backoff, delayAfterAttempt } from "./backoff.ts";
import { Connection, type ConnectionSlot, connectionHandlers } from "./connection.ts";
import { type ClientTls, clientTlsOptions, tlsError } from "./tls.ts";

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
 * the first byte can arrive; over TLS not before the server has proved who it is.
 * @param timeoutMs for all of it, the TLS handshake included
 * @param tls undefined: plain TCP
 * @throws DrayError "unreachable", "timeout", "closed"; over TLS also "refused" (its certificate),
 *   "protocol" (it speaks no TLS) and "unauthorized" (it wants another certificate of ours)
 */
export async function dial<T>(
  target: DialTarget,
  timeoutMs: number,
  ready: (connection: Connection) => T,
  tls?: ClientTls,
): Promise<T> {
  const shown = showTarget(target);
  const opened = Promise.withResolvers<T>();
  let givenUp = false;
  let opening: Socket<ConnectionSlot> | undefined;
  const timer = setTimeout(() => {
    givenUp = true;
    opened.reject(new DrayError("timeout", `no connection within ${Math.round(timeoutMs) / 1000} s`));
    opening?.terminate();
  }, timeoutMs);
  const connected = (socket: Socket<ConnectionSlot>): void => {
    opening = undefined;
    const connection = new Connection(socket, shown, socket.remoteAddress);
    socket.data.connection = connection;
    socket.data.isTrusted = true;
    opened.resolve(ready(connection));
  };
  const plain = connectionHandlers((socket) => {
    if (givenUp) return void socket.terminate();
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    if (tls === undefined) connected(socket);
    else opening = socket;
  });
  const secure: SocketHandler<ConnectionSlot> = {
    ...plain,
    handshake: (socket, success, error) => {
      if (givenUp || socket.data.connection !== undefined) return;
      if (success && socket.authorized) return connected(socket);
      opened.reject(tlsError(error ?? socket.getAuthorizationError()));
      socket.terminate();
    },
    close: (socket, error) => {
      opened.reject(tlsError(undefined)); // if it was not settled before
      socket.data.connection?.onClose(error);
    },
  };
  connect(target, tls, tls === undefined ? plain : secure).catch((error: unknown) => {
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

async function connect(
  { host: hostname, port }: DialTarget,
  tls: ClientTls | undefined,
  socket: SocketHandler<ConnectionSlot>,
): Promise<void> {
  const data: ConnectionSlot = { connection: undefined, isTrusted: false };
  const options = { hostname, port, allowHalfOpen: true, data, socket };
  if (tls === undefined) await Bun.connect(options);
  else await Bun.connect({ ...options, tls: clientTlsOptions(tls) });
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
