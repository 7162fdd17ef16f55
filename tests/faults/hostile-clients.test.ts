import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { currentRssBytes, peakRssBytes } from "../support/memory.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";
import { withDeadline } from "../support/wait.ts";
import { frame, FRAME, hello, listRequest, orderFrame, readFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

/** What a server says until it ends the connection. */
async function talk(port: number, ...parts: Uint8Array[]): Promise<Buffer> {
  const socket = connect({ port, host: "127.0.0.1" });
  const said: Buffer[] = [];
  socket.on("data", (bytes) => said.push(Buffer.from(bytes as Uint8Array)));
  socket.on("error", () => undefined); // a reset is an end, too
  for (const part of parts) socket.write(part);
  await once(socket, "close");
  return Buffer.concat(said);
}

/** The last frame of what a server said. */
function lastFrame(said: Buffer): { type: number; id: number; payload: Buffer } | undefined {
  let last;
  let rest = said;
  for (let next = readFrame(rest); next !== undefined; next = readFrame(rest)) {
    last = next;
    rest = rest.subarray(next.frameBytes);
  }
  return last;
}

const SPEECHES: Record<string, Uint8Array[]> = {
  garbage: [Buffer.from("GET / HTTP/1.1\r\nHost: dray.example\r\n\r\n")],
  zeros: [Buffer.alloc(100_000)],
  "a frame of 4 GiB": [frame(FRAME.hello, 0, Buffer.alloc(10), 0xffff_ffff)],
  "a wrong check": [damaged(hello())],
  "a request before the handshake": [listRequest(1, ".", 4)],
  "two handshakes": [hello(), hello()],
  "a request without an id": [hello(), listRequest(0, ".", 4)],
  "a message that clients take": [hello(), frame(FRAME.end, 1, Buffer.alloc(16))],
  "a message of an unknown type": [hello(), frame(250, 1, Buffer.alloc(16))],
  "half a path": [hello(), frame(FRAME.list, 1, Buffer.from([4, 0, 0, 0, 200, 0, 97]))],
  "an order of 10 MB": [hello(), frame(FRAME.order, 1, Buffer.alloc(10_000_000, " "))],
  "a thousand requests at once": [
    hello(),
    ...Array.from({ length: 1000 }, (_, id) => fetchRequest(id + 1, 60_000)),
  ],
};

function damaged(bytes: Buffer): Buffer {
  bytes[bytes.length - 1]! ^= 0x40;
  return bytes;
}

function fetchRequest(id: number, delayMs: number): Buffer {
  const payload = Buffer.alloc(24);
  payload.writeBigInt64LE(2n ** 53n - 1n, 8);
  payload.writeUInt32LE(delayMs, 16);
  payload.writeUInt8(1, 20);
  payload.writeUInt16LE(1, 21);
  payload.write("f", 23);
  return frame(FRAME.fetch, id, payload);
}

describe("a client that says what is no protocol loses its connection, and nobody else anything", () => {
  test.each(Object.entries(SPEECHES))("%s", async (_, parts) => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) =>
      writeFileSync(join(directory, "f"), "content"),
    );
    for (const port of [content.port, stage.mirrorPort]) {
      const last = lastFrame(await talk(port, ...parts));
      // Told why, if there was time for it.
      if (last !== undefined) expect([FRAME.error, FRAME.welcome]).toContain(last.type as never);
    }
    expect((await stage.order([sourceText(content)])).code).toBe(0);
  });
});

describe("an order that is none is refused with the reason, and the mirror goes on", () => {
  const SOURCE = { host: "h", port: 1, path: ".", delayMs: 0 };
  const TERMS = { attempts: 5, patienceMs: 60_000, include: [], exclude: [] };
  const give = (changes: object): string =>
    JSON.stringify({ do: "give", order: { sources: [SOURCE], ...TERMS, ...changes } });
  const giveFrom = (changes: object): string => give({ sources: [{ ...SOURCE, ...changes }] });
  const orders: [what: string, json: string][] = [
    ["no JSON", "{"],
    ["not UTF-8", "\xff"],
    ["no object", "[]"],
    ["no command", JSON.stringify({ order: { sources: [SOURCE], ...TERMS } })],
    ["an unknown command", '{"do":"delete","orderId":"x"}'],
    ["a command without its order", '{"do":"follow"}'],
    ["an order id that is too long", JSON.stringify({ do: "cancel", orderId: "x".repeat(65) })],
    ["no sources", give({ sources: [] })],
    ["too many sources", give({ sources: Array(257).fill(SOURCE) })],
    ["an unknown key", give({ extra: 1 })],
    ["an unknown key of a source", giveFrom({ extra: 1 })],
    ["a host that is a path", giveFrom({ host: "../../x" })],
    ["a port of 0", giveFrom({ port: 0 })],
    ["a delay without end", giveFrom({ delayMs: 1e300 })],
    ["no attempts", give({ attempts: 0 })],
    ["attempts without end", give({ attempts: 1e9 })],
    ["patience without end", give({ patienceMs: 1e15 })],
    ["a repetition without a pause", give({ everyMs: 0 })],
    ["too many patterns", give({ include: Array(257).fill("x") })],
    ["a pattern that is too long", give({ exclude: ["x".repeat(1025)] })],
    ["a proto key", '{"__proto__":{"do":"list"}}'],
  ];
  test.each(orders)("%s", async (_, json) => {
    await using stage = await Stage.open();
    const socket = connect({ port: stage.mirrorPort, host: "127.0.0.1" });
    socket.write(
      Buffer.concat([
        hello(),
        json === "\xff" ? frame(FRAME.order, 1, Buffer.of(0xff)) : orderFrame(1, json),
      ]),
    );
    const answer = await untilFrame(socket, FRAME.error);
    expect([2, 7]).toContain(answer.payload.readUInt16LE(0)); // usage, or no protocol at all
    socket.destroy();
    const content = await stage.content("data", (directory) =>
      writeFileSync(join(directory, "f"), "content"),
    );
    expect((await stage.order([sourceText(content)])).code).toBe(0);
  });
});

/** The first frame of a type that a server sends. */
async function untilFrame(socket: Socket, type: number): Promise<{ payload: Buffer }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ payload: Buffer }>();
  let received = Buffer.alloc(0);
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, Buffer.from(bytes as Uint8Array)]);
    for (let next = readFrame(received); next !== undefined; next = readFrame(received)) {
      if (next.type === type) resolve(next);
      received = received.subarray(next.frameBytes);
    }
  });
  socket.on("close", () => reject(new Error("The server ended the connection without an answer")));
  return withDeadline(promise, 20_000, () => `a frame of type ${type}`);
}

describe("memory", () => {
  const FLOOD_BYTES = 100_000_000;
  const LIMIT_BYTES = 200_000_000;

  test("a client that floods with PINGs and never reads costs a server nothing", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) =>
      writeFileSync(join(directory, "f"), "content"),
    );
    const pings = Buffer.concat(Array<Buffer>(10_000).fill(frame(FRAME.ping, 0, new Uint8Array(0))));
    for (const [port, pid] of [
      [content.port, content.program.pid],
      [stage.mirrorPort, stage.mirror.pid],
    ] as const) {
      const before = currentRssBytes(pid);
      const socket = connect({ port, host: "127.0.0.1" }).pause();
      socket.on("error", () => undefined);
      await writeAll(socket, hello());
      for (let sent = 0; sent < FLOOD_BYTES && !socket.destroyed; sent += pings.length) {
        if (!(await writeAll(socket, pings))) break;
      }
      expect(peakRssBytes(pid) - before).toBeLessThan(80_000_000);
      socket.destroy();
    }
    expect((await stage.order([sourceText(content)])).code).toBe(0);
  });

  test("clients that ask for large answers and never read them cost a server little", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      writeFileSync(join(directory, "f"), Buffer.alloc(20_000_000));
      makeManyFiles(join(directory, "many"), {
        seed: 1,
        count: 2000,
        directories: 5,
        minBytes: 0,
        maxBytes: 1,
      });
    });
    const sockets = Array.from({ length: 40 }, () => {
      const socket = connect({ port: content.port, host: "127.0.0.1" }).pause();
      socket.on("error", () => undefined);
      socket.write(hello());
      for (let id = 1; id <= 50; id++)
        socket.write(id % 2 === 0 ? fetchRequest(id, 0) : listRequest(id, ".", 1000));
      return socket;
    });
    // The server has taken all of these requests when it answers somebody who came later.
    const { code } = await stage.order([sourceText(content)]);
    expect(code).toBe(0);
    expect(peakRssBytes(content.program.pid)).toBeLessThan(LIMIT_BYTES);
    for (const socket of sockets) socket.destroy();
  });
});

/** False when the other side has gone, or takes no more, as it may. */
async function writeAll(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const gone = (): void => resolve(false);
  socket.once("close", gone);
  const stuck = setTimeout(gone, 2000);
  socket.write(bytes, (error) => resolve(error === undefined || error === null));
  try {
    return await promise;
  } finally {
    clearTimeout(stuck);
    socket.off("close", gone);
  }
}
