import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { SyncServerStage, userFiles } from "../support/literal-sync-stage.ts";
import { startDray } from "../support/process.ts";
import { CODE } from "../support/literal-sync-wire.ts";

/** The compiled server, and clients that were written from the protocol's text alone. */

const TEXT = "some text that takes several chunks of ten bytes";
const tens = { chunkSize: 10 };

function bytesOf(length: number): Buffer {
  return Buffer.from(
    Uint32Array.from({ length: Math.ceil(length / 4) }, (_, index) => Math.imul(index, 2_654_435_761)).buffer,
  ).subarray(0, length);
}

/** Every version that the server has kept. */
function versions(stage: SyncServerStage): string[] {
  const folder = stage.path("server", ".dray", "versions");
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, "utf8"));
}

describe("a client that comes", () => {
  test("gets what it lacks and what is newer, and gives what the server lacks and what is newer", async () => {
    await using stage = await SyncServerStage.start([], (folder) => {
      mkdirSync(`${folder}/sub`);
      writeFileSync(`${folder}/sub/only-there.txt`, "there");
      writeFileSync(`${folder}/newer-there.txt`, "new there");
      writeFileSync(`${folder}/newer-here.txt`, "old there");
      utimesSync(`${folder}/newer-here.txt`, 1_600_000_000, 1_600_000_000);
    });
    mkdirSync(stage.path("a"));
    writeFileSync(stage.path("a", "only-here.txt"), "here");
    writeFileSync(stage.path("a", "newer-here.txt"), "new here");
    writeFileSync(stage.path("a", "newer-there.txt"), "old here");
    utimesSync(stage.path("a", "newer-there.txt"), 1_600_000_000, 1_600_000_000);
    await using a = await stage.client("a");
    await a.untilHas("sub/only-there.txt", "there");
    await a.untilHas("newer-there.txt", "new there");
    expect(readFileSync(stage.path("server", "only-here.txt"), "utf8")).toBe("here");
    expect(readFileSync(stage.path("server", "newer-here.txt"), "utf8")).toBe("new here");
    expect(versions(stage)).toContain("old there");
    expect(userFiles(stage.path("server"))).toEqual(userFiles(stage.path("a")));
  });

  test("is shown META-DATA with time, size and digest of each file", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    a.files.write("sub/x.txt", TEXT);
    await a.scan();
    await using b = await stage.client("b");
    const known = b.greeting().get("sub/x.txt");
    expect(known).toMatchObject({ size: TEXT.length, md5: a.files.known.get("sub/x.txt")!.md5 });
    expect(Math.abs(known!.mtime - Date.now() / 1000)).toBeLessThan(60);
    // What the first one wrote comes as a request of the second.
    await b.untilHas("sub/x.txt", TEXT);
  });

  test("that knows nobody is greeted by an empty server, and what it asks for is answered", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    // The one line of an empty server is taken for a file, and asked for: it does not exist.
    await a.until(() => a.receiving.received.some((message) => message.type === "delete"), "the Delete");
    a.files.write("x", TEXT);
    await a.scan();
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe(TEXT);
    expect(a.codes).toEqual([CODE.ok, CODE.ok]);
  });
});

describe("an upload", () => {
  test.each([
    [1, [CODE.badChecksum, CODE.ok]],
    [2, [CODE.badChecksum, CODE.badChecksum, CODE.ok]],
  ])("with a wrong checksum %d times arrives", async (times, expected) => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a", tens);
    await using b = await stage.client("b", tens);
    a.files.write("x", TEXT);
    a.wrongDigests = times;
    expect(await a.upload("x")).toBe("sent");
    expect(a.codes).toEqual([...expected, CODE.ok, CODE.ok, CODE.ok, CODE.ok, CODE.ok]);
    await b.untilHas("x", TEXT);
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe(TEXT);
  });

  test("with a wrong checksum three times is off, and the next one is not", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a", tens);
    a.files.write("x", "first version");
    await a.scan();
    a.files.write("x", TEXT);
    a.codes.length = 0;
    a.wrongDigests = 3;
    expect(await a.upload("x")).toBe("gave up");
    expect(a.codes).toEqual([CODE.badChecksum, CODE.badChecksum, CODE.checksumAbort]);
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe("first version");
    expect(await a.upload("x")).toBe("sent");
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe(TEXT);
    expect(versions(stage)).toContain("first version");
  });

  test("forgets wrong checksums after a good chunk", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    const wrong = { md5: "12".repeat(16) };
    const answers: number[] = [];
    for (const claims of [wrong, wrong, {}, wrong, wrong, {}]) {
      await a.sending.chunk("x", Buffer.from("ab"), claims);
      answers.push(await a.sending.status());
    }
    expect(answers).toEqual([2, 2, 1, 2, 2, 1]);
    await a.sending.named("close", "x");
    expect(await a.sending.status()).toBe(CODE.ok);
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe("abab");
  });

  test("with a chunk of no data in its middle three times is off", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await a.sending.chunk("x", Buffer.from("begun"));
    const answers = [await a.sending.status()];
    for (let times = 0; times < 3; times++) {
      await a.sending.chunk("x", Buffer.alloc(0));
      answers.push(await a.sending.status());
    }
    expect(answers).toEqual([CODE.ok, CODE.badSize, CODE.badSize, CODE.sizeAbort]);
    expect(existsSync(stage.path("server", "x"))).toBe(false);
    a.files.write("x", TEXT);
    expect(await a.upload("x")).toBe("sent");
  });

  test("with a chunk over the limit gets it back, and what it carried is no message", async () => {
    await using stage = await SyncServerStage.start(["--max-chunk", "1KiB"]);
    await using a = await stage.client("a");
    // Data that reads as a Delete of what is there.
    a.files.write("there", TEXT);
    expect(await a.upload("there")).toBe("sent");
    const trap = Buffer.alloc(
      2048,
      Buffer.from(`0500${"00".repeat(16)}0500${Buffer.from("there").toString("hex")}`, "hex"),
    );
    const answers: number[] = [];
    for (let times = 0; times < 3; times++) {
      await a.sending.chunk("x", trap);
      answers.push(await a.sending.status());
    }
    expect(answers).toEqual([CODE.badSize, CODE.badSize, CODE.sizeAbort]);
    await a.sending.chunk("x", Buffer.from("small"));
    expect(await a.sending.status()).toBe(CODE.ok);
    expect(readFileSync(stage.path("server", "there"), "utf8")).toBe(TEXT);
  });

  test.each(["file", "zeros", "last chunk"] as const)(
    "whose Close has the digest of: %s",
    async (closeDigest) => {
      await using stage = await SyncServerStage.start();
      await using a = await stage.client("a", { ...tens, closeDigest });
      a.files.write("x", TEXT);
      expect(await a.upload("x")).toBe("sent");
      expect(a.codes.at(-1)).toBe(CODE.ok);
      expect(readFileSync(stage.path("server", "x"), "utf8")).toBe(TEXT);
    },
  );

  test("of a client that does not wait for the answer to Close", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a", { ...tens, awaitsClose: false });
    await using b = await stage.client("b");
    for (const name of ["x", "y", "z"]) {
      a.files.write(name, `${name}: ${TEXT}`);
      expect(await a.upload(name)).toBe("sent");
    }
    for (const name of ["x", "y", "z"]) await b.untilHas(name, `${name}: ${TEXT}`);
  });

  test("of no bytes, as an empty chunk and as a Close alone", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    a.files.write("chunk", "");
    expect(await a.upload("chunk")).toBe("sent");
    await a.sending.named("close", "bare");
    expect(await a.sending.status()).toBe(CODE.ok);
    await b.untilHas("chunk", "");
    await b.untilHas("bare", "");
  });

  test("in chunks of one byte, and in one of 16 MiB", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a", { chunkSize: 1 });
    await using b = await stage.client("b", { chunkSize: 16 * 1024 * 1024 });
    a.files.write("small", TEXT);
    const large = bytesOf(20 * 1024 * 1024 + 3);
    b.files.write("large", large);
    expect(await Promise.all([a.upload("small"), b.upload("large")])).toEqual(["sent", "sent"]);
    await b.untilHas("small", TEXT);
    await a.untilHas("large", large);
    expect(readFileSync(stage.path("server", "large")).equals(large)).toBe(true);
  });

  test("of two files, chunk by chunk in turn", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    for (const [name, part] of [
      ["x", "x1"],
      ["y", "y1"],
      ["x", "x2"],
      ["y", "y2"],
      ["y", "y3"],
    ] as const) {
      await a.sending.chunk(name, Buffer.from(part));
      expect(await a.sending.status()).toBe(CODE.ok);
    }
    await a.sending.named("close", "x");
    await a.sending.named("close", "y");
    expect([await a.sending.status(), await a.sending.status()]).toEqual([CODE.ok, CODE.ok]);
    await b.untilHas("x", "x1x2");
    await b.untilHas("y", "y1y2y3");
  });

  test("that is aborted leaves what was there", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    a.files.write("x", "before");
    await a.scan();
    await a.sending.chunk("x", Buffer.from("half of"));
    expect(await a.sending.status()).toBe(CODE.ok);
    await a.sending.named("abort", "x");
    b.files.write("x", "after");
    expect(await b.upload("x")).toBe("sent");
    await a.untilHas("x", "after");
  });
});

describe("a connection", () => {
  test("whose bytes arrive one at a time, in both directions", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a", { ...tens, dribbles: true });
    await using b = await stage.client("b", { ...tens, dribbles: true });
    a.files.write("sub/x", TEXT);
    await a.scan();
    await b.untilHas("sub/x", TEXT);
    expect(await b.delete("sub/x")).toBe(CODE.ok);
    await a.until(() => a.deletions.includes("sub/x"), "the Delete");
  });

  test("that ends its sending side gets every answer", async () => {
    await using stage = await SyncServerStage.start();
    await using b = await stage.client("b");
    const wire = await stage.wire();
    await wire.chunk("x", Buffer.from(TEXT));
    await wire.named("close", "x");
    await wire.named("delete", "missing");
    wire.halfClose();
    const answers = [await wire.status(), await wire.status(), await wire.status()];
    expect(answers).toEqual([CODE.ok, CODE.ok, CODE.noFile]);
    expect(await wire.next()).toBeUndefined();
    await b.untilHas("x", TEXT);
  });

  test("that ends in the middle of a file leaves nothing of it", async () => {
    await using stage = await SyncServerStage.start();
    const wire = await stage.wire();
    await wire.chunk("x", Buffer.from(TEXT));
    expect(await wire.status()).toBe(CODE.ok);
    await wire.chunk("x", Buffer.from("cut"), { sizeBytes: 10_000 });
    wire.halfClose();
    expect(await wire.next()).toBeUndefined();
    expect(userFiles(stage.path("server"))).toEqual([]);
    expect(readdirSync(stage.path("server", ".dray", "staging"))).toEqual([]);
  });

  test("that vanishes in the middle of an upload lets go of its lock", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    await a.sending.chunk("x", Buffer.from("half"));
    expect(await a.sending.status()).toBe(CODE.ok);
    b.files.write("x", TEXT);
    expect(await b.upload("x")).toBe("locked");
    a.vanish();
    await stage.program.waitFor(
      (event) => event["type"] === "disconnected" && event["channel"] === "receive",
    );
    expect(await b.upload("x")).toBe("sent");
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe(TEXT);
    expect(readdirSync(stage.path("server", ".dray", "staging"))).toEqual([]);
  });

  test("that breaks the protocol ends, and no other one", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    const wire = await stage.wire();
    await wire.bytes(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(await wire.next()).toBeUndefined();
    a.files.write("x", TEXT);
    expect(await a.upload("x")).toBe("sent");
  });

  test("to the wrong port works as well", async () => {
    await using stage = await SyncServerStage.start();
    await using b = await stage.client("b");
    const wire = await stage.wire(stage.sendPort);
    for (let message = await wire.next(); message?.type !== "close"; message = await wire.next()) {
      if (message === undefined) throw new Error("no META-DATA");
      await wire.code(CODE.ok);
    }
    await wire.code(CODE.ok);
    await wire.chunk("x", Buffer.from(TEXT));
    await wire.named("close", "x");
    expect([await wire.status(), await wire.status()]).toEqual([CODE.ok, CODE.ok]);
    await b.untilHas("x", TEXT);
  });

  test("that is idle hears a keep-alive, which nobody answers", async () => {
    await using stage = await SyncServerStage.start(["--keep-alive", "1s"]);
    await using a = await stage.client("a");
    const isKeepAlive = (message: { type: string; code?: number }): boolean =>
      message.code === CODE.keepAlive;
    await a.until(() => a.receiving.received.some(isKeepAlive), "a keep-alive");
    expect(a.sending.received.some(isKeepAlive)).toBe(false);
    a.files.write("x", TEXT);
    expect(await a.upload("x")).toBe("sent");
  });
});

describe("a locked file", () => {
  test("is refused chunk by chunk, its Close is not answered, and then the winner's comes", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    await a.sending.chunk("x", Buffer.from("of "));
    expect(await a.sending.status()).toBe(CODE.ok);
    for (let times = 0; times < 3; times++) {
      await b.sending.chunk("x", Buffer.from("loser"));
      expect(await b.sending.status()).toBe(CODE.locked);
    }
    await b.sending.named("close", "x");
    expect(await b.delete("x")).toBe(CODE.locked);
    await a.sending.chunk("x", Buffer.from("a"));
    await a.sending.named("close", "x");
    expect([await a.sending.status(), await a.sending.status()]).toEqual([CODE.ok, CODE.ok]);
    await b.untilHas("x", "of a");
    expect(readFileSync(stage.path("server", "x"), "utf8")).toBe("of a");
  });

  test("that is asked for is in use, and comes when it is free", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    a.files.write("x", "old");
    await a.scan();
    await b.untilHas("x", "old");
    await a.sending.chunk("x", Buffer.from("new"));
    expect(await a.sending.status()).toBe(CODE.ok);
    await b.sending.named("request", "x");
    expect(await b.sending.status()).toBe(CODE.inUse);
    await a.sending.named("close", "x");
    await b.untilHas("x", "new");
  });
});

describe("a Delete", () => {
  test("reaches everybody, and what was deleted is kept", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    a.files.write("x", TEXT);
    await a.scan();
    await b.untilHas("x", TEXT);
    expect(await b.delete("x")).toBe(CODE.ok);
    await a.until(() => a.deletions.includes("x"), "the Delete");
    expect(existsSync(stage.path("server", "x"))).toBe(false);
    expect(versions(stage)).toContain(TEXT);
  });

  test("of what is not there", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    expect(await a.delete("missing")).toBe(CODE.noFile);
    expect(await a.delete("../../etc/passwd")).toBe(CODE.noFile);
  });
});

describe("a Request", () => {
  test("brings the file again, a deleted one's Delete, and of an unknown one nothing", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    a.files.write("x", TEXT);
    await a.scan();
    await a.sending.named("request", "x");
    await a.until(() => a.updates.includes("x"), "the file");
    a.files.remove("x");
    expect(await a.delete("x")).toBe(CODE.ok);
    await a.sending.named("request", "never");
    await a.sending.named("request", "x");
    await a.until(
      () =>
        a.receiving.received.some(
          ({ type, ...rest }) => type === "delete" && "name" in rest && rest.name === "x",
        ),
      "its Delete",
    );
    // Nothing was answered in between.
    expect(await a.delete("x")).toBe(CODE.noFile);
  });
});

describe("a name", () => {
  test("of 65,535 bytes is refused, and what follows is understood", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    const name = "n".repeat(65_535);
    await a.sending.chunk(name, Buffer.from("data"));
    expect(await a.sending.status()).toBe(CODE.locked);
    await a.sending.named("close", name);
    expect(await a.delete(name)).toBe(CODE.noFile);
    a.files.write("x", TEXT);
    expect(await a.upload("x")).toBe("sent");
    await stage.program.waitFor(
      (event) => event["type"] === "refused" && JSON.stringify(event).includes("nnn"),
    );
  });

  test("as long as a path can be goes through", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    const name = Array.from({ length: 12 }, () => "d".repeat(255)).join("/");
    await a.sending.chunk(name, Buffer.from(TEXT));
    await a.sending.named("close", name);
    expect([await a.sending.status(), await a.sending.status()]).toEqual([CODE.ok, CODE.ok]);
    await b.until(() => b.updates.includes(name), "the file");
  });

  test("that may not be is refused, and nothing is written anywhere", async () => {
    await using stage = await SyncServerStage.start();
    const wire = await stage.wire();
    const names = [
      "../x",
      "/etc/x",
      "a//b",
      "a/../../x",
      ".",
      "a\0b",
      ".dray/x",
      ".DRAY/x",
      "META-DATA",
      "a/.dray-x",
    ];
    for (const name of names) {
      await wire.chunk(name, Buffer.from("data"));
      await wire.named("close", name);
      await wire.named("delete", name);
      expect([name, await wire.status(), await wire.status()]).toEqual([name, CODE.locked, CODE.noFile]);
    }
    expect(userFiles(stage.path("server"))).toEqual([]);
    expect(existsSync(stage.path("x"))).toBe(false);
  });
});

describe("a client that is sent a file", () => {
  test.each([1, 2])("and calls a chunk damaged %d times gets it again", async (complaints) => {
    await using stage = await SyncServerStage.start(["--chunk-size", "10"]);
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    b.complaints = complaints;
    a.files.write("x", TEXT);
    await a.scan();
    await b.untilHas("x", TEXT);
    const chunks = b.receiving.received.filter((message) => message.type === "chunk" && message.name === "x");
    expect(chunks.length).toBe(5 + complaints);
  });

  test("and calls a chunk damaged three times gets the file anew later", async () => {
    await using stage = await SyncServerStage.start(["--chunk-size", "10"]);
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    b.complaints = 3;
    a.files.write("x", TEXT);
    await a.scan();
    await b.untilHas("x", TEXT);
  });

  test("and has it in use is left alone until the next version", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    b.inUse.add("x");
    a.files.write("x", "first");
    a.files.write("y", "other");
    await a.scan();
    await b.untilHas("y", "other");
    await stage.program.waitFor((event) => event["type"] === "given-up" && event["name"] === "x");
    expect(b.files.exists("x")).toBe(false);
    b.inUse.delete("x");
    a.files.write("x", "second");
    await a.scan();
    await b.untilHas("x", "second");
  });

  test("and never answers gets it all the same", async () => {
    await using stage = await SyncServerStage.start(["--answer-timeout", "1s", "--chunk-size", "10"]);
    const mute = await stage.wire(stage.sendPort);
    await using a = await stage.client("a");
    a.files.write("x", TEXT);
    await a.scan();
    const data: Buffer[] = [];
    for (let message = await mute.next(); message !== undefined; message = await mute.next()) {
      if (message.type === "chunk" && message.name === "x") data.push(message.data);
      if (message.type === "close" && message.name === "x") break;
    }
    expect(Buffer.concat(data).toString()).toBe(TEXT);
  });

  test("while it sends a version of its own, is sent that again: it may have been overwritten", async () => {
    await using stage = await SyncServerStage.start();
    const down = await stage.wire(stage.sendPort);
    for (let message = await down.next(); message?.type !== "close"; message = await down.next()) {
      if (message === undefined) throw new Error("no META-DATA");
      await down.code(CODE.ok);
    }
    await down.code(CODE.ok);
    const up = await stage.wire();
    await stage.program.event("paired");
    await using b = await stage.client("b");
    b.files.write("x", "of b");
    expect(await b.upload("x")).toBe("sent");
    // It is slow to write what comes, and meanwhile its user has saved.
    expect(await down.next()).toMatchObject({ type: "chunk", name: "x", data: Buffer.from("of b") });
    await up.chunk("x", Buffer.from("of a"));
    await up.named("close", "x");
    expect([await up.status(), await up.status()]).toEqual([CODE.ok, CODE.ok]);
    await down.code(CODE.ok);
    expect(await down.next()).toMatchObject({ type: "close", name: "x" });
    await down.code(CODE.ok);
    expect(await down.next()).toMatchObject({ type: "chunk", name: "x", data: Buffer.from("of a") });
    await b.untilHas("x", "of a");
  });

  test("is not sent what it has sent itself", async () => {
    await using stage = await SyncServerStage.start();
    await using a = await stage.client("a");
    await using b = await stage.client("b");
    a.files.write("x", TEXT);
    await a.scan();
    await b.untilHas("x", TEXT);
    b.files.write("y", "from b");
    await b.scan();
    await a.untilHas("y", "from b");
    expect(a.updates).toEqual(["y"]);
    expect(b.updates).toEqual(["x"]);
  });
});

test("a literal client and one of dray's are in sync with each other", async () => {
  await using stage = await SyncServerStage.start(["--chunk-size", "10"]);
  await using a = await stage.client("a", tens);
  a.files.write("from a", TEXT);
  await a.scan();
  mkdirSync(stage.path("ours"));
  writeFileSync(stage.path("ours", "from ours"), TEXT);
  const ports = [stage.receivePort, stage.sendPort].map(String);
  await using ours = startDray(["sync-client", "127.0.0.1", ...ports, stage.path("ours"), "10", "--json"]);
  await ours.waitFor((event) => event["type"] === "received" && event["name"] === "from a");
  await a.untilHas("from ours", TEXT);
  // It read META-DATA as a literal client does, and was paired as one of dray's.
  await stage.program.waitFor((event) => event["type"] === "paired" && event["isExact"] === true);
  a.files.write("from ours", "edited by a");
  await a.scan();
  await ours.waitFor((event) => event["type"] === "received" && event["name"] === "from ours");
  expect(readFileSync(stage.path("ours", "from ours"), "utf8")).toBe("edited by a");
  expect(await a.delete("from a")).toBe(CODE.ok);
  await ours.waitFor((event) => event["type"] === "deleted" && event["name"] === "from a");
  expect(userFiles(stage.path("ours"))).toEqual(["from ours"]);
});
