import { afterEach, beforeEach, describe, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { asDrayError } from "../../src/errors/dray-error.ts";
import type { Message } from "../../src/wire/messages.ts";
import { HELLO, PING, gotType, list, settled } from "../property/content-stage.ts";
import { naive, naiveFrame, naiveMessage } from "../property/naive-codec.ts";
import { type RawPeer, rawClient } from "../property/raw-peer.ts";
import { putBytes } from "../support/put-bytes.ts";
import { WritesStage } from "../support/writes-stage.ts";

setDefaultTimeout(60_000);

const WELCOME = 2;
const ERROR = 3;
const LISTED = 19;
const READY = 41;
const DONE = 42;
const CODE = { integrity: 5, protocol: 7, refused: 9, name: 10, timeout: 14, locked: 19 };

let stage: WritesStage;
let peers: RawPeer[];
beforeEach(() => {
  stage = new WritesStage();
  peers = [];
  writeFileSync(`${stage.served}/theirs`, "was there before");
});
afterEach(async () => {
  for (const peer of peers) peer.terminate();
  // Whatever was tried: nothing else was touched, and others are served.
  expect(readFileSync(`${stage.served}/theirs`, "utf8")).toBe("was there before");
  const client = await stage.client();
  await stage.put(client, "afterwards", "as if nothing had been");
  expect(stage.read("afterwards")).toBe("as if nothing had been");
  expect(stage.names().filter((name) => name !== "theirs" && name !== "afterwards")).toEqual([]);
  await stage[Symbol.asyncDispose]();
});

async function hostile(): Promise<RawPeer> {
  const peer = await rawClient(stage.server.port);
  peers.push(peer);
  peer.send(HELLO);
  await gotType(peer, WELCOME);
  return peer;
}

type Put = Extract<Message, { type: "put" }>;

function put(id: number, path: string, size: number, options: Partial<Put> = {}): Buffer {
  const fields = { mtimeUs: 1, mode: 0o644, digest: "xxh3", eager: true, ...options } as const;
  return naiveMessage({ type: "put", path, size, ...fields }, id);
}

const xxh3 = (bytes: Uint8Array): Buffer => naive.i64(BigInt.asIntN(64, Bun.hash.xxHash3(bytes)));

function data(id: number, bytes: Uint8Array, digest = xxh3(bytes)): Buffer {
  return naiveMessage({ type: "data", payload: Buffer.concat([digest, bytes]) }, id);
}

function chainOf(...pieces: Uint8Array[]): Buffer {
  return pieces.reduce<Buffer>((chain, piece) => xxh3(Buffer.concat([chain, xxh3(piece)])), Buffer.alloc(8));
}

function end(id: number, length: number, chain: Uint8Array): Buffer {
  return naiveMessage({ type: "end", length, chain }, id);
}

/** The code of the error that a request was answered with. */
async function errorOf(peer: RawPeer, id: number): Promise<number> {
  const frame = await peer.until(
    () => peer.frames.find(({ type, requestId }) => type === ERROR && requestId === id),
    `the error of request ${id}`,
  );
  return frame.payload.readUInt16LE(0);
}

/** The code with which the connection was ended. */
async function endedWith(peer: RawPeer): Promise<number> {
  const code = await errorOf(peer, 0);
  await peer.ended();
  return code;
}

const ten = Buffer.from("0123456789");

describe("contents that are not what was announced", () => {
  test.each([
    ["more bytes than announced", [put(1, "x", 5), data(1, ten), end(1, 5, chainOf(ten))]],
    [
      "more pieces than announced",
      [put(1, "x", 10), data(1, ten), data(1, ten), end(1, 20, chainOf(ten, ten))],
    ],
    ["fewer", [put(1, "x", 20), data(1, ten), end(1, 20, chainOf(ten))]],
    ["fewer, and END says so", [put(1, "x", 20), data(1, ten), end(1, 10, chainOf(ten))]],
    ["none", [put(1, "x", 20), end(1, 20, Buffer.alloc(8))]],
    ["a wrong digest", [put(1, "x", 10), data(1, ten, Buffer.alloc(8)), end(1, 10, chainOf(ten))]],
    ["a wrong chain", [put(1, "x", 10), data(1, ten), end(1, 10, Buffer.alloc(8))]],
    ["no chain", [put(1, "x", 10), data(1, ten), end(1, 10, Buffer.alloc(0))]],
    ["a chain of another width", [put(1, "x", 10), data(1, ten), end(1, 10, Buffer.alloc(32))]],
    [
      "the digests of another kind",
      [put(1, "x", 10, { digest: "sha256" }), data(1, ten), end(1, 10, chainOf(ten))],
    ],
    ["an empty piece", [put(1, "x", 0), data(1, Buffer.alloc(0)), end(1, 0, chainOf(Buffer.alloc(0)))]],
    [
      "pieces of different lengths",
      [
        put(1, "x", 13),
        data(1, ten.subarray(0, 1)),
        data(1, ten),
        data(1, ten.subarray(0, 2)),
        end(1, 13, Buffer.alloc(8)),
      ],
    ],
  ])("%s: that file fails, and the next one arrives", async (_, frames) => {
    const peer = await hostile();
    peer.send(...frames, put(2, "y", 10), data(2, ten), end(2, 10, chainOf(ten)));
    expect([CODE.integrity, CODE.protocol]).toContain(await errorOf(peer, 1));
    await gotType(peer, DONE);
    expect(stage.names()).toEqual(["theirs", "y"]);
    expect(stage.parts()).toEqual([]);
    peer.send(naiveMessage({ type: "remove", path: "y" }, 3));
    await gotType(peer, DONE, 2);
  });

  test("bytes before READY are refused", async () => {
    const peer = await hostile();
    // LIST without credit keeps the turn of the PUT from coming.
    peer.send(list(1, 0), put(2, "x", 10, { eager: false }), data(2, ten), end(2, 10, chainOf(ten)));
    peer.send(naiveMessage({ type: "more", credit: 10 }, 1));
    await gotType(peer, LISTED);
    expect(await errorOf(peer, 2)).toBe(CODE.protocol);
  });
});

describe("what breaks the protocol ends the connection", () => {
  test.each([
    ["DATA without a PUT", [data(1, ten)]],
    ["END without a PUT", [end(1, 0, Buffer.alloc(8))]],
    ["DATA of another request", [put(1, "x", 10), data(2, ten)]],
    ["END twice", [put(1, "x", 10), data(1, ten), end(1, 10, chainOf(ten)), end(1, 10, chainOf(ten))]],
    ["a second PUT before END", [put(1, "x", 10), put(2, "y", 10)]],
    ["DATA before HELLO", undefined],
  ])("%s", async (_, frames) => {
    let peer: RawPeer;
    if (frames === undefined) {
      peer = await rawClient(stage.server.port);
      peers.push(peer);
      // The header alone: nothing of this size is waited for.
      peer.send(naiveFrame(22, 1, Buffer.alloc(0), { payloadBytes: 1_000_000 }));
    } else {
      peer = await hostile();
      peer.send(...frames);
    }
    expect(await endedWith(peer)).toBe(CODE.protocol);
    // "END twice" may have been published before the second END was looked at.
    while (stage.writes.isBusy("x")) await new Promise((resolve) => setImmediate(resolve));
    const client = await stage.client();
    await client.remove("x").catch(() => {});
  });
});

test.each([
  "../x",
  "/x",
  "a/../x",
  ".dray/x",
  ".dray/owners.db",
  ".dray-file-1.tmp",
  "",
  ".",
  "a\0",
  "x".repeat(4097),
])("the name %p is refused for PUT, REMOVE and RENAME", async (name) => {
  const peer = await hostile();
  peer.send(put(1, name, 10), data(1, ten), end(1, 10, chainOf(ten)));
  peer.send(put(2, name, 1_000_000, { eager: false }), end(2, 0, Buffer.alloc(8)));
  peer.send(naiveMessage({ type: "remove", path: name }, 3));
  peer.send(naiveMessage({ type: "rename", from: name, to: "y" }, 4));
  peer.send(naiveMessage({ type: "rename", from: "theirs", to: name }, 5));
  for (const id of [1, 2, 3, 4, 5]) expect(await errorOf(peer, id)).toBe(CODE.name);
  expect(existsSync(`${stage.folder.path}/x`)).toBe(false);
});

test("an announcement that is never followed up keeps its name only as long as the connection lasts", async () => {
  const peer = await hostile();
  peer.send(put(1, "x", 1_000_000, { eager: false }));
  await gotType(peer, READY);
  const client = await stage.client();
  expect(
    await stage.put(client, "x", "mine").catch((error: unknown) => (error as { code: string }).code),
  ).toBe("locked");
  peer.terminate();
  while (stage.writes.isBusy("x")) await new Promise((resolve) => setImmediate(resolve));
  await stage.put(client, "x", "mine");
  await client.remove("x");
});

test("a client that only says PING is told to go after a minute, and its name is free", async () => {
  const peer = await hostile();
  peer.send(put(1, "x", 1_000_000, { eager: false }));
  await gotType(peer, READY);
  const realNow = performance.now.bind(performance);
  const clock = spyOn(performance, "now");
  try {
    // Half a minute passes, twice, and it is heard in between.
    for (const passedMs of [31_000, 62_000]) {
      clock.mockImplementation(() => realNow() + passedMs);
      peer.send(PING);
      await settled(peer);
    }
    expect(await errorOf(peer, 1)).toBe(CODE.timeout);
  } finally {
    clock.mockRestore();
  }
  expect(stage.writes.isBusy("x")).toBe(false);
});

test("a client whose old connection hangs goes on over a new one after a few seconds", async () => {
  const bytes = new Uint8Array(1_000_000).fill(5);
  const peer = await hostile();
  const old = put(1, "x", bytes.length, { eager: false, mtimeUs: 77 });
  peer.send(old);
  await gotType(peer, READY);
  peer.send(data(1, bytes.subarray(0, 200_000)), PING);
  await settled(peer);
  const client = await stage.client();
  let resumedBytes: number | undefined;
  for (let locked = 0; resumedBytes === undefined; locked++) {
    expect(locked).toBeLessThan(100);
    try {
      resumedBytes = await putBytes(client, "x", bytes, 77);
    } catch (error) {
      expect(asDrayError(error).code).toBe("locked");
      await Bun.sleep(200);
    }
  }
  expect(resumedBytes).toBe(200_000);
  expect(await errorOf(peer, 1)).toBe(CODE.locked);
  // What the old one still sends harms nothing.
  peer.send(data(1, bytes.subarray(0, 1000)), end(1, 0, Buffer.alloc(8)), PING);
  await settled(peer);
  expect(Buffer.compare(readFileSync(`${stage.served}/x`), bytes)).toBe(0);
  await client.remove("x");
});

test("a thousand files that are begun and never finished leave no more than a bounded rest", async () => {
  const piece = Buffer.alloc(100_000, 7);
  for (let round = 0; round < 10; round++) {
    const some = await Promise.all(Array.from({ length: 50 }, hostile));
    for (const [index, peer] of some.entries()) {
      const id = index + 1;
      peer.send(put(id, `never/${round}-${index}`, 1_000_000, { eager: false }));
    }
    for (const peer of some) await gotType(peer, READY);
    for (const [index, peer] of some.entries()) peer.send(data(index + 1, piece), PING);
    for (const peer of some) await settled(peer);
    for (const peer of some) peer.terminate();
    for (let index = 0; index < 50; index++) {
      while (stage.writes.isBusy(`never/${round}-${index}`))
        await new Promise((resolve) => setImmediate(resolve));
    }
  }
  expect(stage.parts().length).toBe(64);
  for (const part of stage.parts())
    expect(statSync(`${stage.served}/.dray/uploads/${part}`).size).toBe(100_000);
  // Nothing of it is in the tree, not even directories.
  expect(existsSync(`${stage.served}/never`)).toBe(false);
});

test("256 small files whose connection goes before the first answer are whole or not there", async () => {
  const peer = await hostile();
  const frames = Array.from({ length: 256 }, (_, index) => {
    const id = index + 1;
    return Buffer.concat([put(id, `f/${id}`, 10), data(id, ten), end(id, 10, chainOf(ten))]);
  });
  peer.send(...frames);
  peer.terminate();
  const client = await stage.client();
  while (Array.from({ length: 256 }, (_, index) => stage.writes.isBusy(`f/${index + 1}`)).includes(true))
    await new Promise((resolve) => setImmediate(resolve));
  for (const name of stage.names().filter((found) => found.startsWith("f/"))) {
    expect(stage.read(name)).toBe("0123456789");
    await client.remove(name);
  }
  expect(stage.parts()).toEqual([]);
});
