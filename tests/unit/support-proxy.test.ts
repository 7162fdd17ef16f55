import { afterEach, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Fault, FaultLine } from "../support/proxy-faults.ts";
import { type Proxy, type ProxyOptions, startProxy } from "../support/proxy.ts";
import { seededRandom } from "../support/random.ts";
import { withDeadline } from "../support/wait.ts";

const ANSWER = new Uint8Array(300_000);
seededRandom(1).fill(ANSWER);

const cleanUp: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
});

/** A server that waits for the client's end of request, answers and closes. */
async function startServer(answer: Uint8Array = ANSWER): Promise<{ host: string; port: number }> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.resume();
    socket.on("end", () => socket.end(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUp.push(async () => {
    const closed = once(server, "close");
    server.close();
    await closed;
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { host: "127.0.0.1", port: address.port };
}

async function proxyTo(target: ProxyOptions["target"], faults: ProxyOptions["faults"] = []): Promise<Proxy> {
  const proxy = await startProxy({ target, faults });
  cleanUp.push(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

interface Got {
  bytes: Uint8Array;
  reads: number;
  error: string | undefined;
}

/** Sends a request, half-closes, and takes what comes until the end. */
async function request(proxy: Proxy, text = "request"): Promise<Got> {
  const socket: Socket = connect({ host: proxy.host, port: proxy.port, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  let error: string | undefined;
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", (failure: NodeJS.ErrnoException) => {
    error = failure.code;
  });
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.end(text);
  await withDeadline(closed, 10_000, () => "the proxy to close the connection");
  return { bytes: new Uint8Array(Buffer.concat(chunks)), reads: chunks.length, error };
}

describe("proxy", () => {
  test("passes everything on both ways, half-close included, and counts", async () => {
    const proxy = await proxyTo(await startServer());
    const [first, second] = await Promise.all([request(proxy), request(proxy)]);
    expect([first.error, second.error]).toEqual([undefined, undefined]);
    expect(first.bytes).toEqual(ANSWER);
    expect(second.bytes).toEqual(ANSWER);
    await proxy.connected(2);
    expect(proxy.connections).toHaveLength(2);
    expect(proxy.connections[0]).toMatchObject({ bytesToServer: 7, bytesToClient: ANSWER.length });
    expect(Buffer.from(proxy.connections[0]?.headToServer ?? []).toString()).toBe("request");
    expect(proxy.connections[0]?.headToClient).toEqual(ANSWER.subarray(0, 64 * 1024));
  });

  test.each(["fin", "rst"] as const)("cuts by %s at a byte", async (how) => {
    const proxy = await proxyTo(await startServer(), [{ kind: "cut", atByte: 100_001, how }]);
    const got = await request(proxy);
    await proxy.reached("cut", { connection: 0 });
    expect(got.error).toBe(how === "rst" ? "ECONNRESET" : undefined);
    expect(proxy.connections[0]?.bytesToClient).toBe(100_001);
    // A reset may overtake bytes that the client has not read yet.
    if (how === "fin") expect(got.bytes).toEqual(ANSWER.subarray(0, 100_001));
  });

  test("cuts before the first byte", async () => {
    const proxy = await proxyTo(await startServer(), [{ kind: "cut", atByte: 0, how: "fin" }]);
    expect((await request(proxy)).bytes).toHaveLength(0);
    await proxy.reached("cut");
  });

  test("turns over a bit", async () => {
    const proxy = await proxyTo(await startServer(), [{ kind: "flip", atByte: 70_000, bit: 3 }]);
    const wanted = ANSWER.slice();
    wanted[70_000] = (wanted[70_000] ?? 0) ^ 8;
    expect((await request(proxy)).bytes).toEqual(wanted);
    await proxy.reached("flip");
  });

  test("puts in garbage", async () => {
    const garbage = new TextEncoder().encode("garbage");
    const proxy = await proxyTo(await startServer(), [{ kind: "garbage", atByte: 10, bytes: garbage }]);
    const wanted = Buffer.concat([ANSWER.subarray(0, 10), garbage, ANSWER.subarray(10)]);
    expect((await request(proxy)).bytes).toEqual(new Uint8Array(wanted));
  });

  test("stalls until released, each connection by its own plan", async () => {
    const proxy = await proxyTo(await startServer(), (connection) =>
      connection === 0 ? [{ kind: "stall", atByte: 1000 }] : [],
    );
    const stalled = request(proxy);
    await proxy.reached("stall", { connection: 0 });
    expect((await request(proxy)).bytes).toEqual(ANSWER);
    expect(proxy.connections[0]).toMatchObject({ bytesToClient: 1000, closed: false });
    proxy.release();
    expect((await stalled).bytes).toEqual(ANSWER);
  });

  test("can be closed while it stalls", async () => {
    const proxy = await proxyTo(await startServer(), [{ kind: "stall", atByte: 1000 }]);
    const stalled = request(proxy);
    await proxy.reached("stall");
    await proxy[Symbol.asyncDispose]();
    expect((await stalled).bytes.length).toBeLessThanOrEqual(1000);
    cleanUp.pop();
  });

  test("passes one byte at a time", async () => {
    const answer = ANSWER.subarray(0, 500);
    const proxy = await proxyTo(await startServer(answer), [{ kind: "dribble" }]);
    const got = await request(proxy);
    expect(got.bytes).toEqual(answer);
    expect(got.reads).toBeGreaterThan(100);
  });

  test("holds to a rate", async () => {
    const answer = ANSWER.subarray(0, 60_000);
    const proxy = await proxyTo(await startServer(answer), [{ kind: "throttle", bytesPerSecond: 200_000 }]);
    const startedAt = performance.now();
    expect((await request(proxy)).bytes).toEqual(answer);
    expect(performance.now() - startedAt).toBeGreaterThan(250);
  });

  test("a target that refuses breaks the client's connection", async () => {
    const { port } = await startServer();
    for (const end of cleanUp.splice(0)) await end();
    const proxy = await proxyTo({ host: "127.0.0.1", port });
    expect((await request(proxy)).bytes).toHaveLength(0);
    expect(proxy.connections).toHaveLength(1);
  });

  test("a fault that never strikes fails the wait with what was seen", async () => {
    const proxy = await proxyTo(await startServer(), [{ kind: "cut", atByte: 10_000_000, how: "rst" }]);
    await request(proxy);
    await expect(proxy.reached("cut", { timeoutMs: 10 })).rejects.toThrow(
      /in vain for the fault "cut".*"bytesToClient":300000/,
    );
  });
});

test("faults strike at the same place however the stream is split", () => {
  const faults: Fault[] = [
    { kind: "flip", atByte: 4 },
    { kind: "garbage", atByte: 6, bytes: new Uint8Array([99, 99]) },
    { kind: "stall", atByte: 10 },
  ];
  const stream = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  for (let size = 1; size <= stream.length; size++) {
    const line = new FaultLine(faults);
    const seen: (number | string)[] = [];
    for (let offset = 0; offset < stream.length; offset += size) {
      for (const step of line.steps(stream.subarray(offset, offset + size))) {
        if (step.do === "send") seen.push(...step.bytes);
        else seen.push(step.fault.kind);
      }
    }
    expect(seen).toEqual([0, 1, 2, 3, "flip", 5, 5, "garbage", 6, 7, 8, 9, "stall"]);
  }
  expect(stream[4]).toBe(4);
});
