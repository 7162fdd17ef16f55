import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { Connection, type ConnectionSlot, connectionHandlers } from "./connection.ts";
import { showTarget } from "./dial.ts";

export interface Listener {
  /** The address and port that are really bound. */
  readonly address: string;
  readonly port: number;
  /** Takes no new connection; those that are open stay. */
  stop(): void;
}

/**
 * Listens on a TCP address. `accept` is called in the tick in which a connection opens and must
 * attach its events.
 * @param port 0 picks a free one
 * @throws DrayError "usage" when the address cannot be bound
 */
export function listen(address: string, port: number, accept: (connection: Connection) => void): Listener {
  const handlers = connectionHandlers((socket) => {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    const connection = new Connection(
      socket,
      showTarget({ host: socket.remoteAddress, port: socket.remotePort }),
    );
    // One object a connection: Bun hands every accepted socket the listener's `data`.
    socket.data = { connection };
    accept(connection);
  });
  const slot: ConnectionSlot = { connection: undefined };
  try {
    const server = Bun.listen({ hostname: address, port, allowHalfOpen: true, data: slot, socket: handlers });
    return { address: server.hostname, port: server.port, stop: () => server.stop(false) };
  } catch (error) {
    throw new DrayError(
      "usage",
      `cannot listen on ${showTarget({ host: address, port })}: ${reasonOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

function reasonOf(error: unknown): string {
  const known = asDrayError(error);
  return known.code === "internal" ? "the address cannot be bound" : known.message;
}
