import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { type Fault, FaultLine, type PositionedFault } from "./proxy-faults.ts";
import { keepHead, pace, pump, send, slices } from "./proxy-pump.ts";
import { Condition, type WaitOptions } from "./wait.ts";

export interface ProxyOptions {
  target: { host: string; port: number };
  /** The faults of every connection, or of each by its number (0 is the first). */
  faults?: readonly Fault[] | ((connection: number) => readonly Fault[]);
  /** The same for what the client sends; positions count from the first byte of the client. */
  faultsToServer?: readonly Fault[] | ((connection: number) => readonly Fault[]);
}

/** One client's connection through the proxy, as seen so far. */
export interface ProxiedConnection {
  /** Bytes that the client sent and that went on to the server. */
  bytesToServer: number;
  /** Bytes that went on to the client, garbage included. */
  bytesToClient: number;
  /** The first 64 KiB of each direction, as they were passed on. */
  headToServer: Uint8Array;
  headToClient: Uint8Array;
  closed: boolean;
}

interface Struck {
  kind: PositionedFault["kind"];
  connection: number;
}

/** A TCP proxy that damages what the server sends, at exact places. Start it with {@link startProxy}. */
export class Proxy implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly connections: ProxiedConnection[] = [];

  private readonly server: Server;
  private readonly options: ProxyOptions;
  private readonly condition = new Condition();
  private readonly struck: Struck[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly stalled = new Set<() => void>();

  constructor(server: Server, port: number, options: ProxyOptions) {
    this.server = server;
    this.port = port;
    this.options = options;
    server.on("connection", (client) => void this.serve(client));
  }

  /** Waits until a fault of this kind has struck, on any connection or the one given. */
  async reached(
    kind: PositionedFault["kind"],
    options: WaitOptions & { connection?: number } = {},
  ): Promise<Struck> {
    const matches = (struck: Struck): boolean =>
      struck.kind === kind && (options.connection === undefined || struck.connection === options.connection);
    return await this.condition.until(
      () => this.struck.find(matches),
      () => `the fault "${kind}": ${this.describe()}`,
      options,
    );
  }

  /** Waits until so many connections have come since the start. */
  async connected(count: number, options: WaitOptions = {}): Promise<void> {
    await this.condition.until(
      () => (this.connections.length >= count ? true : undefined),
      () => `${count} connections: ${this.describe()}`,
      options,
    );
  }

  /** Lets every stalled connection go on. */
  release(): void {
    for (const goOn of this.stalled) goOn();
    this.stalled.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    for (const socket of this.sockets) socket.destroy();
    const closed = once(this.server, "close");
    this.server.close();
    await closed;
  }

  private async serve(client: Socket): Promise<void> {
    const index = this.connections.length;
    const seen: ProxiedConnection = {
      bytesToServer: 0,
      bytesToClient: 0,
      headToServer: new Uint8Array(0),
      headToClient: new Uint8Array(0),
      closed: false,
    };
    this.connections.push(seen);
    this.condition.changed();
    const upstream = connect({ ...this.options.target, allowHalfOpen: true, noDelay: true });
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      // The pumps hear of it too, and break the other side.
      socket.on("error", () => undefined);
      socket.on("close", () => this.sockets.delete(socket));
    }
    const { faults = [], faultsToServer = [] } = this.options;
    const toServer = typeof faultsToServer === "function" ? faultsToServer(index) : faultsToServer;
    await Promise.allSettled([
      this.pumpToServer(client, upstream, seen, toServer, index),
      this.pumpToClient(upstream, client, seen, typeof faults === "function" ? faults(index) : faults, index),
    ]);
    seen.closed = true;
    this.condition.changed();
  }

  private async pumpToServer(
    client: Socket,
    upstream: Socket,
    seen: ProxiedConnection,
    faults: readonly Fault[],
    connection: number,
  ): Promise<void> {
    const line = new FaultLine(faults);
    const pass = async (bytes: Uint8Array): Promise<void> => {
      for (const slice of slices(bytes, faults)) {
        seen.bytesToServer += slice.length;
        seen.headToServer = keepHead(seen.headToServer, slice);
        await send(upstream, slice);
        await pace(slice, faults);
      }
    };
    await pump(client, upstream, async (chunk) => {
      for (const step of line.steps(chunk)) {
        if (step.do === "send") await pass(step.bytes);
        else await this.strike(step.fault, connection, pass, client, upstream);
      }
    });
  }

  private async pumpToClient(
    upstream: Socket,
    client: Socket,
    seen: ProxiedConnection,
    faults: readonly Fault[],
    connection: number,
  ): Promise<void> {
    const line = new FaultLine(faults);
    const pass = async (bytes: Uint8Array): Promise<void> => {
      for (const slice of slices(bytes, faults)) {
        await send(client, slice);
        seen.bytesToClient += slice.length;
        seen.headToClient = keepHead(seen.headToClient, slice);
        await pace(slice, faults);
      }
    };
    const play = async (chunk: Uint8Array): Promise<void> => {
      for (const step of line.steps(chunk)) {
        if (step.do === "send") await pass(step.bytes);
        else await this.strike(step.fault, connection, pass, client, upstream);
      }
    };
    // A fault at byte 0 strikes before the server has said anything.
    await play(new Uint8Array(0));
    await pump(upstream, client, play);
  }

  private async strike(
    fault: PositionedFault,
    connection: number,
    pass: (bytes: Uint8Array) => Promise<void>,
    client: Socket,
    upstream: Socket,
  ): Promise<void> {
    if (fault.kind === "garbage") await pass(fault.bytes);
    if (fault.kind === "cut") {
      if (fault.how === "rst") client.resetAndDestroy();
      else client.end();
      upstream.destroy();
    }
    this.struck.push({ kind: fault.kind, connection });
    this.condition.changed();
    if (fault.kind === "stall") {
      await new Promise<void>((goOn) => {
        this.stalled.add(goOn);
        client.once("close", goOn);
      });
    }
    if (fault.kind === "cut") throw new Error("cut");
  }

  private describe(): string {
    return JSON.stringify({
      struck: this.struck,
      connections: this.connections.map(({ bytesToServer, bytesToClient, closed }) => ({
        bytesToServer,
        bytesToClient,
        closed,
      })),
    });
  }
}

/** A proxy on a free port of 127.0.0.1. `await using` closes it and all its connections. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The proxy has no port");
  return new Proxy(server, address.port, options);
}
