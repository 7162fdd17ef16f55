import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { DrayError } from "../../src/errors/dray-error.ts";
import type { Client } from "../../src/transfer/client.ts";
import { WritesStage } from "../support/writes-stage.ts";

setDefaultTimeout(30_000);

let stage: WritesStage;
beforeEach(() => {
  stage = new WritesStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const HUGE = new Uint8Array(12_000_000).map((_, index) => index % 241);
const LARGE = new Uint8Array(700_000).map((_, index) => index % 251);

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    expect(error).toBeInstanceOf(DrayError);
    return (error as DrayError).code;
  }
}

describe("a file that is put", () => {
  test.each([
    ["empty", new Uint8Array(0), true],
    ["empty, after READY", new Uint8Array(0), false],
    ["small", LARGE.subarray(0, 1000), true],
    ["small, after READY", LARGE.subarray(0, 1000), false],
    ["of exactly one piece", LARGE.subarray(0, 262_144), true],
    ["of several pieces", LARGE, false],
  ])("%s is there with its bytes, time and executable bit", async (_, contents, eager) => {
    const client = await stage.client("alice");
    for (const digest of ["xxh3", "sha256"] as const) {
      await stage.put(client, `deep/er/${digest}`, contents, {
        eager,
        digest,
        mode: 0o700,
        mtime: 1_234_567_890.5,
      });
      const at = `${stage.served}/deep/er/${digest}`;
      expect(Buffer.compare(fs.readFileSync(at), contents)).toBe(0);
      expect(fs.statSync(at).mtimeMs).toBe(1_234_567_890_500);
      expect(fs.statSync(at).mode & 0o100).toBe(0o100);
    }
    expect(stage.names()).toEqual(["deep/er/sha256", "deep/er/xxh3"]);
    expect(stage.parts()).toEqual([]);
  });

  test("by many requests at once, large and small, all arrive", async () => {
    const client = await stage.client();
    const contents = (index: number): Uint8Array => LARGE.subarray(0, (index * 7919) % 600_000);
    await Promise.all(
      Array.from({ length: 60 }, (_, index) => stage.put(client, `f/${index}`, contents(index))),
    );
    for (let index = 0; index < 60; index++) {
      expect(Buffer.compare(fs.readFileSync(`${stage.served}/f/${index}`), contents(index))).toBe(0);
    }
  });

  test("replaces the owner's older version, which goes to the trash", async () => {
    const client = await stage.client("alice");
    await stage.put(client, "a", "old");
    await stage.put(client, "a", "new", { mtime: 1_600_000_000 });
    await stage.put(client, "a", "newest", { mtime: 1_700_000_000 });
    expect(stage.read("a")).toBe("newest");
    expect(stage.trash()).toEqual(["a", "a~1~"]);
  });

  test("that is there already is not sent again, if it is large", async () => {
    const client = await stage.client("alice");
    expect(await stage.put(client, "a", LARGE)).toBe(0);
    let sentBytes = 0;
    const sent = (bytes: number): void => void (sentBytes += bytes);
    expect(await stage.put(client, "a", LARGE, { sent })).toBe(LARGE.length);
    expect(sentBytes).toBe(0);
    expect(stage.trash()).toEqual([]);
    // A small one is sent, and compared.
    await stage.put(client, "small", "same", { mtime: 1000 });
    await stage.put(client, "small", "same", { mtime: 1000 });
    expect(stage.trash()).toEqual([]);
    await stage.put(client, "small", "diff", { mtime: 1000 });
    expect(stage.read("small")).toBe("diff");
    expect(stage.trash()).toEqual(["small"]);
    // Another mode is another version.
    expect(await stage.put(client, "a", LARGE, { mode: 0o755 })).toBe(0);
  });
});

describe("somebody else", () => {
  test("can neither replace, nor remove, nor rename a file", async () => {
    const alice = await stage.client("alice");
    await stage.put(alice, "a", "hers");
    for (const owner of ["bob", undefined]) {
      const other = await stage.client(owner);
      expect(await codeOf(stage.put(other, "a", "his"))).toBe("refused");
      expect(await codeOf(stage.put(other, "a", LARGE))).toBe("refused");
      expect(await codeOf(other.remove("a"))).toBe("refused");
      expect(await codeOf(other.rename("a", "b"))).toBe("refused");
    }
    expect(stage.read("a")).toBe("hers");
    expect(stage.names()).toEqual(["a"]);
    await alice.rename("a", "b/c");
    await alice.remove("b/c");
    expect(stage.names()).toEqual([]);
    expect(stage.trash()).toEqual(["b/c"]);
  });

  test("who comes over the same name as nobody's file is refused, whoever it is", async () => {
    fs.writeFileSync(`${stage.served}/theirs`, "was there before");
    for (const owner of ["alice", undefined]) {
      const client = await stage.client(owner);
      expect(await codeOf(stage.put(client, "theirs", "x"))).toBe("refused");
      expect(await codeOf(client.remove("theirs"))).toBe("refused");
      expect(await codeOf(client.rename("theirs", "mine"))).toBe("refused");
      await stage.put(client, "own", "x");
      expect(await codeOf(client.rename("own", "theirs"))).toBe("refused");
      await client.remove("own");
    }
    expect(stage.read("theirs")).toBe("was there before");
  });

  test("who changes the file on the server itself takes it from its owner", async () => {
    const alice = await stage.client("alice");
    await stage.put(alice, "a", "hers");
    fs.writeFileSync(`${stage.served}/a`, "changed by the operator");
    expect(await codeOf(stage.put(alice, "a", "again"))).toBe("refused");
    expect(await codeOf(alice.remove("a"))).toBe("refused");
    expect(stage.read("a")).toBe("changed by the operator");
  });

  test("cannot go on with a part that is not theirs", async () => {
    await interrupt(await stage.client("alice"), "a");
    const bob = await stage.client("bob");
    expect(await stage.put(bob, "a", HUGE)).toBe(0);
    expect(await codeOf(stage.put(await stage.client("alice"), "a", HUGE))).toBe("refused");
  });
});

describe("an interrupted upload", () => {
  test("is gone on with, also after the server has been started again", async () => {
    await interrupt(await stage.client("alice"), "a");
    expect(stage.names()).toEqual([]);
    await stage.close();
    stage.open();
    let sentBytes = 0;
    const sent = (bytes: number): void => void (sentBytes += bytes);
    const resumedBytes = await stage.put(await stage.client("alice"), "a", HUGE, { sent });
    expect(resumedBytes).toBeGreaterThan(64 * 1024);
    expect(sentBytes).toBe(HUGE.length - resumedBytes);
    expect(Buffer.compare(fs.readFileSync(`${stage.served}/a`), HUGE)).toBe(0);
    expect(stage.parts()).toEqual([]);
  });

  test("of another version, or under another name, is not", async () => {
    await interrupt(await stage.client("alice"), "a");
    const alice = await stage.client("alice");
    expect(await stage.put(alice, "b", HUGE)).toBe(0);
    expect(await stage.put(alice, "a", HUGE, { mtime: 1_600_000_000 })).toBe(0);
    expect(await stage.put(alice, "c", HUGE.subarray(1))).toBe(0);
    expect(stage.parts()).toHaveLength(1);
  });

  test("of another boot of the machine is not: it may have holes", async () => {
    await interrupt(await stage.client("alice"), "a");
    await stage.close();
    fs.writeFileSync(`${stage.served}/.dray/uploads/boot`, "another boot");
    stage.open();
    expect(stage.parts()).toEqual([]);
  });

  test("counts for the limit of all uploads, once", async () => {
    await interrupt(await stage.client("alice"), "a");
    await stage.close();
    stage.open({ maxTotalBytes: HUGE.length + 100 });
    const alice = await stage.client("alice");
    expect(await codeOf(stage.put(alice, "b", HUGE))).toBe("refused");
    expect(await stage.put(alice, "a", HUGE)).toBeGreaterThan(0);
    await stage.put(alice, "b", "x".repeat(100));
    expect(await codeOf(stage.put(alice, "c", "x"))).toBe("refused");
  });
});

/** Puts a large file and goes away in the middle of it. */
async function interrupt(client: Client, name: string): Promise<void> {
  const known = new Set(stage.parts());
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const newBytes = (): number => {
    const part = stage.parts().find((found) => !known.has(found));
    return part === undefined ? 0 : fs.statSync(`${stage.served}/.dray/uploads/${part}`).size;
  };
  const put = codeOf(stage.put(client, name, HUGE));
  while (newBytes() < 1_000_000) await turn();
  client.close();
  expect(await put).toBe("interrupted");
  while (stage.writes.isBusy(name)) await turn();
}

describe("owners", () => {
  test("are still known after the server has been started again", async () => {
    await stage.put(await stage.client("alice"), "a", "hers");
    await stage.close();
    stage.open();
    expect(await codeOf((await stage.client("bob")).remove("a"))).toBe("refused");
    await (await stage.client("alice")).remove("a");
    expect(stage.names()).toEqual([]);
  });

  test("of a damaged record are nobody, and it is kept", async () => {
    await stage.put(await stage.client("alice"), "a", "hers");
    await stage.close();
    fs.writeFileSync(
      `${stage.served}/.dray/owners.db`,
      "no database at all, but long enough to be one".repeat(50),
    );
    stage.open();
    expect(stage.messages.join()).toContain("owners.db.damaged-");
    const alice = await stage.client("alice");
    expect(await codeOf(alice.remove("a"))).toBe("refused");
    await stage.put(alice, "b", "new");
    await alice.remove("b");
    expect(
      fs.readdirSync(`${stage.served}/.dray`).some((name) => name.startsWith("owners.db.damaged-")),
    ).toBe(true);
  });

  test("keep a second server out of their directory", () => {
    expect(() => stage.open()).toThrow("another dray is using it");
  });
});

describe("names", () => {
  test.each([
    ["../x", "name"],
    ["/x", "name"],
    ["a/../../x", "name"],
    ["", "name"],
    [".", "name"],
    ["a/", "name"],
    ["a\0b", "name"],
    [".dray/x", "name"],
    ["./.dray/owners.db", "name"],
    [".DRAY/x", "name"],
    [".dray-file-1.tmp", "name"],
    ["sub/.dray-part1-0.tmp", "name"],
    ["x".repeat(256), "name"],
    [`${"y/".repeat(3000)}z`, "name"],
    ["link/x", "refused"],
    ["link", "refused"],
    ["file/x", "refused"],
    ["directory", "refused"],
  ])("%p is refused (%s), for each request", async (name, code) => {
    fs.mkdirSync(`${stage.served}/directory`);
    fs.writeFileSync(`${stage.served}/file`, "");
    const outside = stage.folder.join("outside");
    fs.mkdirSync(outside);
    fs.symlinkSync(outside, `${stage.served}/link`);
    const client = await stage.client();
    expect(await codeOf(stage.put(client, name, "x"))).toBe(code);
    expect(await codeOf(stage.put(client, name, LARGE))).toBe(code);
    const gone = name === "file/x" ? "not-found" : code;
    expect([gone, code, "refused"]).toContain(await codeOf(client.remove(name)));
    await stage.put(client, "own", "x");
    expect(await codeOf(client.rename("own", name))).toBe(code);
    expect(fs.readdirSync(outside)).toEqual([]);
    expect(fs.existsSync(stage.folder.join("x"))).toBe(false);
    expect(stage.read("own")).toBe("x");
    // The connection is as good as before.
    await client.remove("own");
  });

  test("that are not there are not found", async () => {
    const client = await stage.client();
    expect(await codeOf(client.remove("a"))).toBe("not-found");
    expect(await codeOf(client.remove("a/b/c"))).toBe("not-found");
    expect(await codeOf(client.rename("a", "b"))).toBe("not-found");
  });

  test("of two clients at once: the second one is told that the name is locked", async () => {
    const [alice, other] = [await stage.client("alice"), await stage.client("alice")];
    const started = Promise.withResolvers<void>();
    const first = stage.put(alice, "a", LARGE, { sent: () => started.resolve() });
    await started.promise;
    expect(await codeOf(stage.put(other, "a", "meanwhile"))).toBe("locked");
    await first;
    expect(Buffer.compare(fs.readFileSync(`${stage.served}/a`), LARGE)).toBe(0);
  });
});

describe("a rename", () => {
  test("onto a name that is taken is refused, also by the owner", async () => {
    const client = await stage.client("alice");
    await stage.put(client, "a", "1");
    await stage.put(client, "b", "2");
    expect(await codeOf(client.rename("a", "b"))).toBe("refused");
    expect(await codeOf(client.rename("a", "a"))).toBe("refused");
    expect([stage.read("a"), stage.read("b")]).toEqual(["1", "2"]);
  });
});

describe("quotas", () => {
  beforeEach(async () => {
    await stage.close();
    stage.open({ maxFileBytes: 600_000, maxTotalBytes: 1_000_000 });
  });
  const of = (bytes: number): Uint8Array => LARGE.subarray(0, bytes);

  test("refuse a file that is too large before it is sent", async () => {
    const client = await stage.client();
    let sentBytes = 0;
    const put = stage.put(client, "a", of(600_001), { sent: (bytes) => void (sentBytes += bytes) });
    expect(await codeOf(put)).toBe("refused");
    expect(sentBytes).toBe(0);
    await stage.put(client, "b", of(600_000));
  });

  test("count all files together, also after a restart", async () => {
    const client = await stage.client("alice");
    await stage.put(client, "a", of(600_000));
    expect(await codeOf(stage.put(client, "b", of(400_001)))).toBe("refused");
    await stage.close();
    stage.open({ maxFileBytes: 600_000, maxTotalBytes: 1_000_000 });
    const again = await stage.client("bob");
    expect(await codeOf(stage.put(again, "b", of(400_001)))).toBe("refused");
    await stage.put(again, "b", of(400_000));
    expect(await codeOf(stage.put(again, "c", of(1)))).toBe("refused");
  });

  test("forget what was removed on the server itself, once it has been started again", async () => {
    await stage.put(await stage.client("alice"), "a", of(600_000));
    fs.rmSync(`${stage.served}/a`);
    expect(await codeOf(stage.put(await stage.client("alice"), "b", of(600_000)))).toBe("refused");
    await stage.close();
    stage.open({ maxFileBytes: 600_000, maxTotalBytes: 1_000_000 });
    const client = await stage.client("alice");
    // It is looked through behind everything else.
    for (let tries = 0; (await codeOf(stage.put(client, "b", of(600_000)))) !== "none"; tries++)
      expect(tries).toBeLessThan(1000);
  });

  test("let the trash make room", async () => {
    const client = await stage.client();
    await stage.put(client, "a", of(600_000));
    await client.remove("a");
    expect(stage.trash()).toEqual(["a"]);
    await stage.put(client, "b", of(400_000));
    expect(stage.trash()).toEqual(["a"]);
    await stage.put(client, "c", of(1));
    expect(stage.trash()).toEqual([]);
  });
});
