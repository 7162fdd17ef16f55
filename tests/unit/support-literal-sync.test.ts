import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { LiteralSyncClient } from "../support/literal-sync-client.ts";
import { LiteralSyncServer } from "../support/literal-sync-server.ts";
import { LiteralWire } from "../support/literal-sync-wire.ts";
import { tempFolder } from "../support/temp.ts";

/** The two literal programs against each other: what they get wrong together would blame ours. */
async function together(options: { dribbles?: boolean } = {}) {
  const folder = tempFolder();
  for (const name of ["server", "a", "b"]) mkdirSync(folder.join(name));
  const manners = { dribbles: options.dribbles ?? false, chunkSize: 10 };
  const server = await LiteralSyncServer.start({ folder: folder.join("server"), ...manners });
  const join = async (name: string): Promise<LiteralSyncClient> =>
    await LiteralSyncClient.start({
      folder: folder.join(name),
      sendPort: server.receivePort,
      receivePort: server.sendPort,
      ...manners,
    });
  return {
    server,
    join,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

test.each([false, true])(
  "a file travels from one to the other and is deleted again (byte by byte: %p)",
  async (dribbles) => {
    await using world = await together({ dribbles });
    await using a = await world.join("a");
    await using b = await world.join("b");
    a.files.write("sub/one.txt", "more than a single chunk");
    a.files.write("empty", "");
    await a.scan();
    await b.untilHas("sub/one.txt", "more than a single chunk");
    await b.untilHas("empty", "");
    b.files.remove("empty");
    expect(await b.delete("empty")).toBe(0x0001);
    await a.until(() => a.deletions.includes("empty"), "the deletion");
    expect(a.files.names()).toEqual(["sub/one.txt"]);
    expect(await b.delete("empty")).toBe(0x0020);
  },
);

test("at the start each side gets what it lacks", async () => {
  await using world = await together();
  world.server.publish("server.txt", "of the server");
  await using a = await world.join("a");
  await a.untilHas("server.txt", "of the server");
  a.files.write("client.txt", "of the client");
  await a[Symbol.asyncDispose]();
  await using again = await world.join("a");
  await world.server.untilHas("client.txt", "of the client");
  expect([...again.greeting().keys()]).toEqual(["server.txt"]);
});

test("locks, strikes, and a client that vanishes", async () => {
  await using world = await together();
  await using a = await world.join("a");
  await using b = await world.join("b");
  await a.sending.chunk("x", Buffer.from("half"));
  expect(await a.sending.status()).toBe(0x0001);
  b.files.write("x", "other");
  expect(await b.upload("x")).toBe("locked");
  a.vanish();
  await world.server.until(() => !world.server.locks.has("x"), "the lock's end");
  b.wrongDigests = 2;
  expect(await b.upload("x")).toBe("sent");
  b.wrongDigests = 3;
  expect(await b.upload("x")).toBe("gave up");
  expect(b.codes).toEqual([0x40, 2, 2, 1, 1, 2, 2, 8]);
});

test("an Abort deletes the receiver's file", async () => {
  await using world = await together();
  await using a = await world.join("a");
  world.server.abortsAfterChunks = 1;
  world.server.publish("x", "more than a single chunk");
  await a.until(() => a.aborts.includes("x"), "the Abort");
  expect(a.files.exists("x")).toBe(false);
});

test("a wire ends quietly inside a message", async () => {
  await using world = await together();
  const wire = await LiteralWire.dial("127.0.0.1", world.server.receivePort);
  await wire.bytes(Buffer.from([1, 0, 5]));
  wire.halfClose();
  expect(await wire.next()).toBeUndefined();
});
