import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import type { Connection, ConnectionEvents } from "../../src/net/connection.ts";
import { dial } from "../../src/net/dial.ts";
import { type Listener, listen } from "../../src/net/listener.ts";
import type { ServerTls } from "../../src/net/tls.ts";
import { allocationsOf } from "../property/allocations.ts";
import { runs } from "../property/runs.ts";
import { Authority, type Issued } from "../support/certificates.ts";
import { Condition } from "../support/wait.ts";
import { seededRandom } from "../support/random.ts";

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanUp.splice(0).reverse()) end();
});

let authority: Authority;
let host: Issued;
beforeAll(() => {
  authority = new Authority();
  host = authority.issue("host");
});
afterAll(() => authority[Symbol.dispose]());

/** Every promise of a connection holds over both. */
let transport: "TCP" | "TLS" = "TCP";

/** One side of a connection, and all that it was told. */
class Side implements ConnectionEvents {
  readonly connection: Connection;
  readonly told: string[] = [];
  received: Buffer = Buffer.alloc(0);
  error: DrayError | undefined;
  onData: ((chunk: Uint8Array) => void) | undefined;
  onEnded: (() => void) | undefined;
  readonly #condition = new Condition();

  constructor(connection: Connection) {
    this.connection = connection;
    connection.attach(this);
    cleanUp.push(() => connection.destroy());
  }

  data(chunk: Uint8Array): void {
    this.received = Buffer.concat([this.received, chunk]);
    if (this.told.at(-1) !== "data") this.told.push("data");
    this.#condition.changed();
    this.onData?.(chunk);
  }
  drained(): void {
    this.told.push("drained");
    this.#condition.changed();
  }
  ended(): void {
    this.told.push("ended");
    this.#condition.changed();
    this.onEnded?.();
  }
  closed(error: DrayError | undefined): void {
    this.told.push("closed");
    this.error = error;
    this.#condition.changed();
  }

  async until(probe: () => boolean): Promise<void> {
    await this.#condition.until(
      () => (probe() ? true : undefined),
      () => `${this.told.join(", ")}; ${this.received.length} bytes`,
    );
  }
  async isTold(what: string): Promise<void> {
    await this.until(() => this.told.includes(what));
  }
}

function listening(): { listener: Listener; accepted: () => Promise<Side> } {
  const waiting: ((side: Side) => void)[] = [];
  const ready: Side[] = [];
  const accept = (connection: Connection): void => {
    const side = new Side(connection);
    const taker = waiting.shift();
    if (taker === undefined) ready.push(side);
    else taker(side);
  };
  const tls = (): ServerTls => ({ cert: host.cert, key: host.key, clientCa: undefined });
  const listener = listen("127.0.0.1", 0, accept, transport === "TLS" ? tls : undefined);
  cleanUp.push(() => listener.stop());
  const accepted = (): Promise<Side> =>
    new Promise((resolve) => {
      const side = ready.shift();
      if (side === undefined) waiting.push(resolve);
      else resolve(side);
    });
  return { listener, accepted };
}

function connect(listener: Listener): Promise<Side> {
  const tls = transport === "TLS" ? { ca: authority.ca, identity: undefined } : undefined;
  const target = { host: "127.0.0.1", port: listener.port };
  return dial(target, 5_000, (connection) => new Side(connection), tls);
}

async function pair(): Promise<[Side, Side]> {
  const { listener, accepted } = listening();
  const client = await connect(listener);
  return [client, await accepted()];
}

function randomBytes(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  seededRandom(seed).fill(bytes);
  return bytes;
}

describe.each(["TCP", "TLS"] as const)("a connection over %s", (kind) => {
  beforeAll(() => {
    transport = kind;
  });
  test("carries all bytes in the order of the calls, whatever their sizes, and whoever reuses the memory", async () => {
    const writes = fc.array(
      fc.record({
        soon: fc.boolean(),
        bytes: fc.oneof(
          { weight: 5, arbitrary: fc.nat(300) },
          { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 3_000_000 }) },
        ),
        pause: fc.boolean(),
      }),
      { maxLength: 30 },
    );
    await fc.assert(
      fc.asyncProperty(writes, fc.nat(), async (writes, seed) => {
        const [client, server] = await pair();
        const expected: Uint8Array[] = [];
        const memory = new Uint8Array(3_000_000);
        for (const { soon, bytes, pause } of writes) {
          const part = memory.subarray(0, bytes);
          part.set(randomBytes(seed + expected.length, bytes));
          expected.push(part.slice());
          if (soon) client.connection.writeSoon(part);
          else client.connection.write(part);
          part.fill(0xee);
          if (pause) await new Promise((resolve) => setImmediate(resolve));
        }
        client.connection.finish();
        await server.isTold("ended");
        expect(Buffer.compare(server.received, Buffer.concat(expected))).toBe(0);
        server.connection.finish();
        await Promise.all([client.isTold("closed"), server.isTold("closed")]);
        expect([client.error, server.error]).toEqual([undefined, undefined]);
      }),
      runs(25),
    );
  });

  test("keeps what the system does not take, says so, and tells when there is room again", async () => {
    const [client, server] = await pair();
    const block = randomBytes(1, 1_000_000);
    let writtenBytes = 0;
    // Synchronously nothing is read: at some point the system takes no more.
    while (client.connection.pendingBytes === 0 && writtenBytes < 100_000_000) {
      client.connection.write(block);
      writtenBytes += block.length;
    }
    expect(client.connection.pendingBytes).toBeGreaterThan(0);
    expect(client.connection.pendingBytes).toBeLessThanOrEqual(block.length);
    expect(client.told).not.toContain("drained");
    await client.isTold("drained");
    expect(client.connection.pendingBytes).toBe(0);
    await server.until(() => server.received.length === writtenBytes);
  });

  test("tells that there is room after small messages, too: who waited for them may go on", async () => {
    const [client, server] = await pair();
    client.connection.writeSoon(randomBytes(2, 10));
    expect(client.connection.pendingBytes).toBe(10);
    await client.isTold("drained");
    expect(client.connection.pendingBytes).toBe(0);
    await server.until(() => server.received.length === 10);
  });

  test("sends what is pending before it ends, and takes what the other side still says", async () => {
    const [client, server] = await pair();
    const [large, answer] = [randomBytes(3, 20_000_000), randomBytes(4, 8_000_000)];
    server.onEnded = () => {
      server.connection.write(answer);
      server.connection.finish();
    };
    client.connection.write(large);
    client.connection.finish();
    client.connection.write(Uint8Array.of(1)); // too late: not sent
    client.connection.writeSoon(Uint8Array.of(2));
    await Promise.all([client.isTold("closed"), server.isTold("closed")]);
    expect(Buffer.compare(server.received, large)).toBe(0);
    expect(Buffer.compare(client.received, answer)).toBe(0);
    expect([client.error, server.error]).toEqual([undefined, undefined]);
  });

  test("is told of its end exactly once, last, with the reason it was given", async () => {
    const [client, server] = await pair();
    client.connection.destroy(new DrayError("timeout", "enough"));
    client.connection.destroy(new DrayError("closed", "again"));
    client.connection.finish();
    expect(client.told).toEqual(["closed"]);
    expect(client.error?.code).toBe("timeout");
    await server.isTold("closed");
    for (const side of [client, server]) {
      expect(side.told.filter((what) => what === "closed")).toHaveLength(1);
      expect(side.told.at(-1)).toBe("closed");
    }
  });

  test("carries the reason of an end that is not the regular one to its owner", async () => {
    const [client, server] = await pair();
    client.connection.finish(new DrayError("protocol", "nonsense"));
    await server.isTold("ended");
    server.connection.finish();
    await client.isTold("closed");
    expect(client.error?.code).toBe("protocol");
  });

  test("whose owner throws ends with that error, and no other connection does", async () => {
    const { listener, accepted } = listening();
    const bad = await connect(listener);
    const badServer = await accepted();
    const good = await connect(listener);
    const goodServer = await accepted();
    badServer.onData = () => {
      throw new Error("a fault of the owner");
    };
    bad.connection.write(randomBytes(5, 10));
    await Promise.all([bad.isTold("closed"), badServer.isTold("closed")]);
    expect(badServer.error).toMatchObject({ code: "internal", message: "a fault of the owner" });
    good.connection.write(randomBytes(6, 10));
    await goodServer.until(() => goodServer.received.length === 10);
  });

  test("that is reset tells its owner that it was closed too early", async () => {
    const [client, server] = await pair();
    server.connection.write(randomBytes(7, 1000));
    await client.isTold("data");
    server.connection.destroy();
    await client.isTold("closed");
    expect([undefined, "closed"]).toContain(client.error?.code);
  });

  test("costs the same for each of many small messages, however many are pending", async () => {
    const [client, server] = await pair();
    const small = randomBytes(9, 16);
    const count = 300_000;
    const sizes = allocationsOf(() => {
      for (let index = 0; index < count; index++) client.connection.writeSoon(small);
    });
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(10 * count * small.length);
    await server.until(() => server.received.length === count * small.length);
  });
});

describe.each(["TCP", "TLS"] as const)("a listener for %s", (kind) => {
  beforeAll(() => {
    transport = kind;
  });
  test("says what it is bound to, and that a port is in use", () => {
    const { listener } = listening();
    expect(listener.port).toBeGreaterThan(0);
    expect(listener.address).toBe("127.0.0.1");
    const again = (): unknown => listen("127.0.0.1", listener.port, () => {});
    expect(again).toThrow(DrayError);
    expect(again).toThrow(new RegExp(`127\\.0\\.0\\.1:${listener.port}.*in use`));
  });

  test("that is stopped takes no new connection and leaves the open ones alone", async () => {
    const { listener, accepted } = listening();
    const client = await connect(listener);
    const server = await accepted();
    listener.stop();
    expect(connect(listener)).rejects.toMatchObject({ code: "unreachable" });
    client.connection.write(randomBytes(9, 100));
    await server.until(() => server.received.length === 100);
  });
});
