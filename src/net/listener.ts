import type { Socket, SocketHandler } from "bun";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { Connection, type ConnectionSlot, connectionHandlers } from "./connection.ts";
import { showTarget } from "./dial.ts";
import { type ServerTls, clientProblem, serverTlsOptions, tlsError } from "./tls.ts";

export interface Listener {
  /** The address and port that are really bound. */
  readonly address: string;
  readonly port: number;
  /** Takes no new connection; those that are open stay. */
  stop(): void;
}

type Accept = (connection: Connection) => void;

/**
 * Listens on a TCP address. `accept` is called in the tick in which a connection opens and must
 * attach its events.
 * @param port 0 picks a free one
 * @param tls asked for each connection, so that a new certificate counts from the next one on;
 *   undefined: plain TCP. `accept` is called before the handshake, and what is written waits for it
 * @throws DrayError "usage" when the address cannot be bound
 */
export function listen(address: string, port: number, accept: Accept, tls?: () => ServerTls): Listener {
  const handlers = tls === undefined ? plainHandlers(accept) : outerHandlers(tls, accept);
  const slot: ConnectionSlot = { connection: undefined, isTrusted: false };
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

function plainHandlers(accept: Accept): SocketHandler<ConnectionSlot> {
  return connectionHandlers((socket) => {
    const from = prepare(socket);
    if (from === undefined) return;
    const connection = new Connection(socket, from.peer, from.address);
    // One object a connection: Bun hands every accepted socket the listener's `data`.
    socket.data = { connection, isTrusted: true };
    accept(connection);
  });
}

/**
 * TLS is put on top of each accepted socket, and not into the listener: Bun cannot give a listener a
 * new certificate, and closing one loses the clients that wait in its queue.
 */
function outerHandlers(tls: () => ServerTls, accept: Accept): SocketHandler<ConnectionSlot> {
  return {
    open: (socket) => {
      const from = prepare(socket);
      if (from === undefined) return;
      const material = tls();
      const slot: ConnectionSlot = { connection: undefined, isTrusted: material.clientCa === undefined };
      const upgrade = {
        isServer: true, // not in the types of Bun 1.4
        tls: serverTlsOptions(material),
        data: slot,
        socket: secureHandlers(),
      };
      try {
        const [, secure] = socket.upgradeTLS<ConnectionSlot>(upgrade);
        slot.connection = new Connection(secure, from.peer, from.address);
      } catch {
        // The material was tried when it was loaded: what fails here lacks memory or descriptors.
        return void socket.terminate();
      }
      accept(slot.connection);
    },
    // Without `data`, what is still encrypted is not handed to JavaScript.
    drain: () => {},
    error: () => {},
  };
}

function secureHandlers(): SocketHandler<ConnectionSlot> {
  return {
    ...connectionHandlers(() => {}),
    handshake: (socket, success, error) => {
      const slot = socket.data;
      if (!success) return slot.connection?.onHandshakeFailed(tlsError(error));
      if (slot.isTrusted) return; // nothing is asked of the client
      const problem = clientProblem(socket);
      slot.isTrusted = problem === undefined;
      if (problem !== undefined) slot.connection?.onUntrusted(problem);
    },
  };
}

/** Who it is; undefined for a client that reset the connection while it waited for us: it has no address any more. */
function prepare(socket: Socket<ConnectionSlot>): { peer: string; address: string } | undefined {
  const address = socket.remoteAddress as string | undefined;
  if (address === undefined || address === "") return void socket.terminate();
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 30_000);
  return { peer: showTarget({ host: address, port: socket.remotePort }), address };
}

function reasonOf(error: unknown): string {
  const known = asDrayError(error);
  return known.code === "internal" ? "the address cannot be bound" : known.message;
}
