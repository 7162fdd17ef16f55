import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import {
  ContentStage,
  PING,
  SENT,
  fetch,
  gotType,
  list,
  more,
  settled,
  typesOf,
} from "../property/content-stage.ts";
import { makeLargeFile } from "../support/tree.ts";

let stage: ContentStage;
beforeEach(() => {
  stage = new ContentStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const { welcome, error, entries, listed, file, data, end } = SENT;

describe("a list", () => {
  test("never takes more credit than it was given", async () => {
    fs.mkdirSync(stage.folder.join("many"));
    for (let index = 0; index < 1600; index++) fs.writeFileSync(stage.folder.join(`many/${index}`), ""); // four batches
    const peer = await stage.welcomed();
    peer.send(list(1, 0, "many"));
    expect(await settled(peer)).toEqual([welcome]);
    peer.send(more(1, 1));
    expect(await settled(peer)).toEqual([welcome, entries]);
    peer.send(more(1, 2));
    await gotType(peer, entries, 3);
    expect(await settled(peer)).toEqual([welcome, entries, entries, entries]);
    peer.send(more(2, 100), more(0, 100)); // of nobody
    expect(await settled(peer)).toEqual([welcome, entries, entries, entries]);
    peer.send(more(1, 1));
    expect(await settled(peer)).toEqual([welcome, entries, entries, entries, entries, listed]);
    const counts = peer.frames.find(({ type }) => type === listed)!.payload;
    expect([0, 8, 16].map((at) => Number(counts.readBigInt64LE(at)))).toEqual([1600, 1, 0]);
  });

  test("that waits for credit goes on when MORE comes in one packet with a PING", async () => {
    const peer = await stage.welcomed();
    peer.send(list(1, 0));
    expect(await settled(peer)).toEqual([welcome]);
    peer.send(PING, more(1, 5));
    await gotType(peer, listed, 1, 5_000);
  });

  test("takes the largest credit there is, and more", async () => {
    const peer = await stage.welcomed();
    const most = 0xffff_ffff;
    peer.send(list(1, most), more(1, most), list(2, 0), more(2, most), more(2, most));
    await peer.gotFrames(5);
    expect(typesOf(peer)).toEqual([welcome, entries, listed, entries, listed]);
  });

  test("shows directories as they are now, not as they were opened", async () => {
    const peer = await stage.welcomed();
    peer.send(list(1));
    await peer.gotFrames(3);
    fs.rmSync(stage.folder.join("docs"), { recursive: true });
    fs.mkdirSync(stage.folder.join("docs"));
    fs.writeFileSync(stage.folder.join("docs/new"), "");
    peer.send(list(2));
    await peer.gotFrames(5);
    expect(peer.frames[3]!.payload.toString("latin1")).toContain("docs/new");
  });

  test("with a file from the year 3000 is a list like any other", async () => {
    fs.utimesSync(stage.folder.join("docs/a"), 32_503_680_000, 32_503_680_000);
    const peer = await stage.welcomed();
    peer.send(list(1), fetch(2, "docs/a"));
    await peer.gotFrames(6);
    expect(typesOf(peer)).toEqual([welcome, entries, listed, file, data, end]);
    const mtimeUs = peer.frames[3]!.payload.readBigInt64LE(8);
    expect(mtimeUs).toBeLessThanOrEqual(BigInt(Number.MAX_SAFE_INTEGER));
  });
});

describe("a file that changes while it is sent", () => {
  const changes: [string, (path: string) => void][] = [
    ["is overwritten", (path) => fs.writeSync(fs.openSync(path, "r+"), "x", 0)],
    ["becomes shorter", (path) => fs.truncateSync(path, 1_000_000)],
    ["grows", (path) => fs.appendFileSync(path, "x")],
  ];

  test.each(changes)(
    "%s: the answer ends in ERROR, never in END, and the next one follows",
    async (_, change) => {
      makeLargeFile(stage.folder.join("large"), { seed: 3, sizeBytes: 64_000_000, sparse: true });
      const peer = await stage.welcomed();
      peer.send(fetch(1, "large"), fetch(2, "docs/a"));
      await gotType(peer, data);
      peer.pause();
      change(stage.folder.join("large"));
      peer.resume();
      await gotType(peer, end); // of the second one
      const answer = peer.frames.filter(({ requestId, type }) => requestId === 1 && type !== data);
      expect(answer.map(({ type }) => type)).toEqual([file, error]);
      expect(answer[1]!.payload.readUInt16LE(0)).toBe(6);
      expect(peer.frames.at(-1)!.requestId).toBe(2);
    },
  );

  test("is whole, old or new, when it is replaced by a rename", async () => {
    makeLargeFile(stage.folder.join("large"), { seed: 4, sizeBytes: 30_000_000, sparse: true });
    const peer = await stage.welcomed();
    peer.send(fetch(1, "large"));
    await gotType(peer, data);
    fs.writeFileSync(stage.folder.join("new"), "new");
    fs.renameSync(stage.folder.join("new"), stage.folder.join("large"));
    const last = (): number => peer.frames.at(-1)!.type;
    await peer.until(() => (last() === end || last() === error ? true : undefined), "the end of the answer");
    const pieces = peer.frames.filter(({ type }) => type === data);
    const sentBytes = pieces.reduce((sum, { payload }) => sum + payload.length - 8, 0);
    if (last() === end) expect(sentBytes).toBe(30_000_000);
    else expect(peer.frames.at(-1)!.payload.readUInt16LE(0)).toBe(6);
  });
});

test("a name that is not to be had gets its own answer: not there, no file, not to be used, behind a link", async () => {
  fs.symlinkSync("docs/a", stage.folder.join("link"));
  fs.symlinkSync("docs", stage.folder.join("dir-link"));
  const peer = await stage.welcomed();
  const asked: [string, number][] = [
    ["missing", 4],
    ["docs/a/below", 4],
    ["docs", 9],
    [".", 9],
    ["link", 9],
    ["dir-link/a", 9],
    ["../etc/passwd", 10],
    ["/etc/passwd", 10],
    ["", 10],
  ];
  peer.send(...asked.map(([path], index) => fetch(index + 1, path)), fetch(99, "./docs//a"));
  await gotType(peer, end);
  const codes = peer.frames
    .filter(({ type }) => type === error)
    .map(({ payload }) => payload.readUInt16LE(0));
  expect(codes).toEqual(asked.map(([, code]) => code));
  for (const { payload } of peer.frames) expect(payload.toString("latin1")).not.toContain(stage.folder.path);
});
