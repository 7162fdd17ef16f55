import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import type { LiteralMessage } from "../support/literal-sync-wire.ts";
import { SyncClientStage, userFiles } from "../support/literal-sync-stage.ts";
import { CODE, md5Of } from "../support/literal-sync-wire.ts";
import { LiteralSyncServer } from "../support/literal-sync-server.ts";

/** The compiled client, and a server that was written from the protocol's text alone. */

const TEXT = "some text that takes several chunks of ten bytes";

function bytesOf(length: number): Buffer {
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, (_, index) =>
    Math.imul(index, 2_654_435_761),
  );
  return Buffer.from(words.buffer).subarray(0, length);
}

/** Started, connected, and with nothing left to do. */
async function settled(...args: Parameters<typeof SyncClientStage.start>): Promise<SyncClientStage> {
  const stage = await SyncClientStage.start(...args);
  await stage.program.event("in-sync");
  await stage.server.untilSent();
  return stage;
}

function contents(stage: SyncClientStage, name: string): string {
  return readFileSync(stage.path(name), "utf8");
}

/** What the client has kept of earlier contents. */
function versions(stage: SyncClientStage): string[] {
  const folder = stage.path(".dray", "versions");
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, "utf8"));
}

/** What the client sent about one file, in words. */
async function saidAbout(stage: SyncClientStage, name: string): Promise<string[]> {
  const { receiving } = await stage.server.session();
  const isAbout = (message: LiteralMessage): boolean => "name" in message && message.name === name;
  return receiving.received.filter(isAbout).map((message) => message.type);
}

/** A file goes up: whatever was disturbed, the conversation goes on. */
async function expectWorks(stage: SyncClientStage): Promise<void> {
  writeFileSync(stage.path("after all"), "works");
  await stage.server.untilHas("after all", "works");
}

describe("at the start", () => {
  test("each side gets what it lacks and what is newer on the other", async () => {
    await using stage = await SyncClientStage.start({}, (server, client) => {
      mkdirSync(`${server}/sub`);
      writeFileSync(`${server}/sub/only-there`, "there");
      writeFileSync(`${client}/only-here`, "here");
      for (const [newer, older] of [
        [server, client],
        [client, server],
      ] as const) {
        const name = `newer-${newer === server ? "there" : "here"}`;
        writeFileSync(`${newer}/${name}`, "new");
        writeFileSync(`${older}/${name}`, "old");
        utimesSync(`${older}/${name}`, 1_600_000_000, 1_600_000_000);
      }
    });
    await stage.server.untilHas("only-here", "here");
    await stage.server.untilHas("newer-here", "new");
    await stage.program.event("in-sync");
    expect(contents(stage, "sub/only-there")).toBe("there");
    expect(contents(stage, "newer-there")).toBe("new");
    expect(versions(stage)).toContain("old");
    expect(userFiles(stage.path())).toEqual(stage.server.files.names());
  });

  test("what is the same on both sides stays, whatever its times are", async () => {
    await using stage = await settled({}, (server, client) => {
      for (const folder of [server, client]) writeFileSync(`${folder}/same`, TEXT);
      utimesSync(`${client}/same`, 1_600_000_000, 1_600_000_000);
    });
    expect(stage.server.requests).toEqual([]);
    expect(stage.server.updates).toEqual([]);
    // What is received is not sent back.
    stage.server.publish("down", TEXT);
    await stage.server.untilSent();
    await expectWorks(stage);
    expect(stage.server.updates).toEqual(["after all"]);
  });

  test("ports that were given the wrong way round do no harm", async () => {
    await using stage = await settled({ isSwapped: true }, (server, client) => {
      writeFileSync(`${server}/down`, "down");
      writeFileSync(`${client}/up`, "up");
    });
    await stage.server.untilHas("up", "up");
    expect(contents(stage, "down")).toBe("down");
  });
});

describe("an edit", () => {
  test("in chunks of one byte, and in one of 16 MiB, goes up", async () => {
    await using small = await settled({ clientChunk: "1" });
    writeFileSync(small.path("x"), TEXT);
    await small.server.untilHas("x", TEXT);
    expect((await saidAbout(small, "x")).length).toBe(TEXT.length + 1);
    await using large = await settled({ clientChunk: "16MiB" });
    const bytes = bytesOf(20 * 1024 * 1024 + 3);
    writeFileSync(large.path("x"), bytes);
    await large.server.untilHas("x", bytes);
    expect(await saidAbout(large, "x")).toEqual(["chunk", "chunk", "close"]);
  });

  test("to a file of no bytes goes up, also where an empty chunk is refused", async () => {
    await using stage = await settled();
    writeFileSync(stage.path("empty"), "");
    await stage.server.untilHas("empty", "");
    expect(await saidAbout(stage, "empty")).toEqual(["chunk", "close"]);
    stage.server.answers = [CODE.badSize];
    writeFileSync(stage.path("other"), "");
    await stage.server.untilHas("other", "");
    expect(await saidAbout(stage, "other")).toEqual(["chunk", "close"]);
  });

  test.each([
    ["checksum once", [CODE.badChecksum]],
    ["checksum twice", [CODE.badChecksum, CODE.badChecksum]],
    ["size once", [CODE.badSize]],
    ["size twice", [CODE.badSize, CODE.badSize]],
  ])("whose chunk has a bad %s is sent again", async (_, answers) => {
    await using stage = await settled({ clientChunk: "10" });
    stage.server.answers = [...answers];
    writeFileSync(stage.path("x"), TEXT);
    await stage.server.untilHas("x", TEXT);
    expect((await saidAbout(stage, "x")).length).toBe(5 + answers.length + 1);
  });

  test.each([
    ["checksums", [CODE.badChecksum, CODE.badChecksum, CODE.checksumAbort]],
    ["sizes", [CODE.badSize, CODE.badSize, CODE.sizeAbort]],
  ])("that is given up after three bad %s is ended without Close, and sent anew", async (_, answers) => {
    await using stage = await settled({ clientChunk: "10" });
    stage.server.answers = [...answers];
    writeFileSync(stage.path("x"), TEXT);
    await stage.server.until(() => stage.server.answers.length === 0, "three refusals");
    await stage.server.untilHas("x", TEXT);
    expect(await saidAbout(stage, "x")).toEqual([...Array.from({ length: 3 + 5 }, () => "chunk"), "close"]);
    expect(stage.server.aborts).toEqual([]);
  });

  test("of a locked file stops; the winner's comes, and ours is kept beside it", async () => {
    await using stage = await settled({ clientChunk: "10", flags: ["--retry-locked", "0"] });
    stage.server.lockedByOthers.add("x.txt");
    writeFileSync(stage.path("x.txt"), TEXT);
    await stage.program.waitFor((event) => event["type"] === "refused" && event["name"] === "x.txt");
    stage.server.lockedByOthers.delete("x.txt");
    stage.server.publish("x.txt", "the winner's");
    const conflict = await stage.program.event("conflict");
    await stage.server.untilHas(String(conflict["copy"]), TEXT);
    expect(contents(stage, "x.txt")).toBe("the winner's");
    expect(contents(stage, String(conflict["copy"]))).toBe(TEXT);
    expect(String(conflict["copy"])).toMatch(/^x \(conflict .*\)\.txt$/);
    // Neither Close nor Abort, and nothing more of it.
    expect(await saidAbout(stage, "x.txt")).toEqual(["chunk"]);
  });

  test("of a file that was locked and to which nothing comes is offered again", async () => {
    await using stage = await settled({ flags: ["--retry-locked", "1s"] });
    stage.server.lockedByOthers.add("x");
    writeFileSync(stage.path("x"), TEXT);
    await stage.program.waitFor((event) => event["type"] === "refused" && event["name"] === "x");
    stage.server.lockedByOthers.delete("x");
    await stage.server.untilHas("x", TEXT);
  });

  test("towards a server that never answers Close goes on", async () => {
    await using stage = await settled({ answersClose: false });
    for (const name of ["x", "y", "z"]) writeFileSync(stage.path(name), TEXT);
    for (const name of ["x", "y", "z"]) await stage.server.untilHas(name, TEXT);
  });
});

describe("a delete", () => {
  test("goes up with the digest of what was deleted", async () => {
    await using stage = await settled({}, (server) => writeFileSync(`${server}/x`, TEXT));
    rmSync(stage.path("x"));
    await stage.server.until(() => stage.server.deletions.includes("x"), "the Delete");
    const { receiving } = await stage.server.session();
    const sent = receiving.received.find((message) => message.type === "delete");
    expect(sent).toEqual({ type: "delete", name: "x", md5: md5Of(Buffer.from(TEXT)) });
  });

  test("that finds no file there is given up", async () => {
    await using stage = await settled({}, (server) => writeFileSync(`${server}/x`, TEXT));
    stage.server.answers = [CODE.noFile];
    rmSync(stage.path("x"));
    await stage.server.until(() => stage.server.answers.length === 0, "the Delete");
    await expectWorks(stage);
    expect((await saidAbout(stage, "x")).filter((type) => type === "delete")).toEqual(["delete"]);
  });

  test("of a locked file brings the winner's", async () => {
    await using stage = await settled({}, (server) => writeFileSync(`${server}/x`, TEXT));
    stage.server.lockedByOthers.add("x");
    rmSync(stage.path("x"));
    await stage.program.waitFor((event) => event["type"] === "in-sync" && event["problems"] === 1);
    stage.server.lockedByOthers.delete("x");
    stage.server.publish("x", "the winner's");
    await stage.server.untilSent();
    expect(contents(stage, "x")).toBe("the winner's");
  });
});

describe("an update from the server", () => {
  test("replaces the file, and what it was is kept", async () => {
    await using stage = await settled({ chunkSize: 10 }, (server) => writeFileSync(`${server}/x`, "before"));
    stage.server.publish("x", TEXT);
    stage.server.publish("sub/empty", "");
    await stage.server.untilSent();
    expect(contents(stage, "x")).toBe(TEXT);
    expect(contents(stage, "sub/empty")).toBe("");
    expect(versions(stage)).toContain("before");
  });

  test.each([
    [1, [2, 1]],
    [2, [2, 2, 1]],
  ])("with a wrong checksum %d times arrives", async (times, codes) => {
    await using stage = await settled({ chunkSize: 10 });
    const session = await stage.server.session();
    session.codes.length = 0;
    stage.server.wrongDigests = times;
    stage.server.publish("x", TEXT);
    await stage.server.untilSent();
    expect(session.codes).toEqual([...codes, 1, 1, 1, 1, 1]);
    expect(contents(stage, "x")).toBe(TEXT);
  });

  test("with a wrong checksum three times is off, and what was there stays", async () => {
    await using stage = await settled({ chunkSize: 10 }, (server) => writeFileSync(`${server}/x`, "before"));
    const session = await stage.server.session();
    session.codes.length = 0;
    stage.server.wrongDigests = 3;
    stage.server.publish("x", TEXT);
    await stage.server.untilSent();
    expect(session.codes).toEqual([2, 2, 8]);
    expect(contents(stage, "x")).toBe("before");
    stage.server.broadcast("x");
    await stage.server.until(() => session.codes.length === 3 + 6, "the answers");
    expect(contents(stage, "x")).toBe(TEXT);
  });

  test("with a chunk of no data in its middle three times is off", async () => {
    await using stage = await settled();
    const { sending } = await stage.server.session();
    await sending.chunk("x", Buffer.from("begun"));
    const answers = [await sending.status()];
    for (let times = 0; times < 3; times++) {
      await sending.chunk("x", Buffer.alloc(0));
      answers.push(await sending.status());
    }
    expect(answers).toEqual([CODE.ok, CODE.badSize, CODE.badSize, CODE.sizeAbort]);
    expect(existsSync(stage.path("x"))).toBe(false);
    await expectWorks(stage);
  });

  test("in chunks of one byte, and in one of 16 MiB", async () => {
    await using small = await settled({ chunkSize: 1 });
    small.server.publish("x", TEXT);
    await small.server.untilSent();
    expect(contents(small, "x")).toBe(TEXT);
    await using large = await settled({ chunkSize: 16 * 1024 * 1024 });
    const bytes = bytesOf(20 * 1024 * 1024 + 3);
    large.server.publish("x", bytes);
    await large.server.untilSent();
    expect(readFileSync(large.path("x")).equals(bytes)).toBe(true);
  });

  test("of two files, chunk by chunk in turn", async () => {
    await using stage = await settled();
    const { sending } = await stage.server.session();
    for (const [name, part] of [
      ["x", "x1"],
      ["y", "y1"],
      ["x", "x2"],
      ["y", "y2"],
    ] as const) {
      await sending.chunk(name, Buffer.from(part));
      expect(await sending.status()).toBe(CODE.ok);
    }
    for (const name of ["x", "y"]) {
      await sending.named("close", name);
      expect(await sending.status()).toBe(CODE.ok);
    }
    expect([contents(stage, "x"), contents(stage, "y")]).toEqual(["x1x2", "y1y2"]);
  });

  test("for which there is no room under its name is in use", async () => {
    await using stage = await settled({}, (_, client) => {
      mkdirSync(`${client}/x`);
      writeFileSync(`${client}/x/y`, "in the way");
    });
    const session = await stage.server.session();
    const { sending } = session;
    for (const name of ["x", "../x", "n".repeat(65_535), ".dray/x"]) {
      await sending.chunk(name, Buffer.from(TEXT));
      expect([name.slice(0, 9), await sending.status()]).toEqual([name.slice(0, 9), CODE.inUse]);
    }
    expect(contents(stage, "x/y")).toBe("in the way");
    expect(existsSync(stage.path("..", "x"))).toBe(false);
    await expectWorks(stage);
  });

  test("with another MD5 in its Close: of nothing, of the last chunk", async () => {
    await using stage = await settled();
    const { sending } = await stage.server.session();
    for (const [name, md5] of [
      ["zeros", "0".repeat(32)],
      ["last", md5Of(Buffer.from("end"))],
    ] as const) {
      for (const part of ["begin ", "end"]) {
        await sending.chunk(name, Buffer.from(part));
        expect(await sending.status()).toBe(CODE.ok);
      }
      await sending.named("close", name, md5);
      expect(await sending.status()).toBe(CODE.ok);
      expect(contents(stage, name)).toBe("begin end");
    }
  });

  test("that is aborted leaves nothing of it, keeps what was there, and is asked for again", async () => {
    await using stage = await settled({ chunkSize: 10 }, (server) => writeFileSync(`${server}/x`, "before"));
    stage.server.abortsAfterChunks = 2;
    stage.server.publish("x", TEXT);
    // The first one was for what it lacked at the start.
    await stage.server.until(() => stage.server.requests.length === 2, "a Request");
    await stage.server.untilSent();
    expect(contents(stage, "x")).toBe(TEXT);
    expect(versions(stage)).toContain("before");
    expect(stage.server.deletions).toEqual([]);
  });

  test("whose server vanishes in its middle leaves no part of it, and comes when the server is back", async () => {
    await using stage = await settled();
    const { sending } = await stage.server.session();
    const { sendPort, receivePort } = stage.server;
    await sending.chunk("x", Buffer.from("half"));
    expect(await sending.status()).toBe(CODE.ok);
    sending.vanish();
    await stage.server[Symbol.asyncDispose]();
    await stage.program.event("disconnected");
    expect(existsSync(stage.path("x"))).toBe(false);
    stage.server.files.close("x");
    stage.server.files.write("x", TEXT);
    await using again = await LiteralSyncServer.start({ folder: stage.server.files.folder }, [
      sendPort,
      receivePort,
    ]);
    await again.until(() => again.requests.includes("x"), "a Request");
    await again.untilSent();
    expect(contents(stage, "x")).toBe(TEXT);
  });
});

describe("a Delete from the server", () => {
  test("deletes the file, and keeps it", async () => {
    await using stage = await settled({}, (server) => writeFileSync(`${server}/x`, TEXT));
    const session = await stage.server.session();
    stage.server.files.remove("x");
    stage.server.broadcast("x");
    await stage.server.untilSent();
    expect(session.codes.at(-1)).toBe(CODE.ok);
    expect(existsSync(stage.path("x"))).toBe(false);
    expect(versions(stage)).toContain(TEXT);
  });

  test("of what is not there is told so", async () => {
    await using stage = await settled();
    const session = await stage.server.session();
    for (const name of ["missing", "../../etc/passwd", ".dray"]) {
      await session.sending.named("delete", name);
      expect([name, await session.sending.status()]).toEqual([name, CODE.noFile]);
    }
    await expectWorks(stage);
  });
});

describe("a connection", () => {
  test("whose bytes arrive one at a time", async () => {
    await using stage = await settled({ dribbles: true, chunkSize: 10 }, (server) =>
      writeFileSync(`${server}/down`, TEXT),
    );
    expect(contents(stage, "down")).toBe(TEXT);
    stage.server.publish("sub/x", TEXT);
    await stage.server.untilSent();
    expect(contents(stage, "sub/x")).toBe(TEXT);
    await expectWorks(stage);
  });

  test("on which the server ends its side gets the answers to all that came, and is made anew", async () => {
    await using stage = await settled();
    const { sending } = await stage.server.session();
    stage.server.files.append("x", Buffer.from(TEXT));
    stage.server.files.finish("x");
    await sending.chunk("x", Buffer.from(TEXT));
    await sending.named("close", "x");
    sending.halfClose();
    expect([await sending.status(), await sending.status()]).toEqual([CODE.ok, CODE.ok]);
    expect(contents(stage, "x")).toBe(TEXT);
    await stage.program.event("disconnected");
    await stage.server.until(() => stage.server.sessions[0]?.sending !== sending, "another connection");
    await expectWorks(stage);
    expect(contents(stage, "x")).toBe(TEXT);
  });

  test("on which keep-alives come answers none of them", async () => {
    await using stage = await settled();
    const { sending, receiving } = await stage.server.session();
    for (let times = 0; times < 3; times++) {
      await sending.code(CODE.keepAlive);
      await receiving.code(CODE.keepAlive);
    }
    await sending.named("delete", "missing");
    expect(await sending.status()).toBe(CODE.noFile);
    expect(
      sending.received.filter((message) => message.type === "status" && message.code === CODE.keepAlive),
    ).toEqual([]);
    await expectWorks(stage);
  });
});
