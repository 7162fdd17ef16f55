import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { STATE_DIRECTORY } from "../../src/disk/trash.ts";
import { StateDirectory } from "../../src/mirror/state-directory.ts";
import { BatchSyncer, isSyncDue } from "../../src/mirror/syncer.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const MIB = 1024 * 1024;

describe("a sync in the background", () => {
  test("is due after five seconds or 256 MiB, and never when nothing is unsynced", () => {
    expect(isSyncDue(0, undefined, 1_000_000)).toBe(false);
    expect(isSyncDue(1_000 * MIB, undefined, 1_000_000)).toBe(false);
    expect(isSyncDue(0, 1_000, 1_000)).toBe(false);
    expect(isSyncDue(1, 1_000, 5_999)).toBe(false);
    expect(isSyncDue(1, 1_000, 6_000)).toBe(true);
    expect(isSyncDue(256 * MIB - 1, 1_000, 1_001)).toBe(false);
    expect(isSyncDue(256 * MIB, 1_000, 1_000)).toBe(true);
  });
});

describe("the syncer", () => {
  let folder: TempFolder;
  let state: StateDirectory;
  const failures: unknown[] = [];

  beforeEach(() => {
    folder = tempFolder();
    state = new StateDirectory(folder.path, Date.now());
    failures.length = 0;
  });
  afterEach(() => {
    state.close(true);
    folder[Symbol.dispose]();
  });

  const syncer = (isIdle = (): boolean => true): BatchSyncer =>
    new BatchSyncer(folder.path, state, isIdle, (error) => failures.push(error));
  const isMarked = (): boolean =>
    "unsyncedSinceMs" in
    (JSON.parse(fs.readFileSync(folder.join(STATE_DIRECTORY, "sync-state.json"), "utf8")) as object);

  test("makes a clean point of a sync while nobody is at work", async () => {
    state.markUnsynced(Date.now());
    const one = syncer();
    one.published(10, 0);
    expect(isMarked()).toBe(true);
    await one.sync();
    expect(isMarked()).toBe(false);
  });

  test("makes none while somebody is at work, before, after or during the sync", async () => {
    for (const answers of [
      [false, false],
      [true, false],
      [false, true],
    ]) {
      state.markUnsynced(Date.now());
      let asked = 0;
      const one = syncer(() => answers[Math.min(asked++, 1)]!);
      one.published(10, 0);
      await one.sync();
      expect(isMarked()).toBe(true);
    }
    state.markUnsynced(Date.now());
    const one = syncer();
    one.published(10, 0);
    const running = one.sync();
    one.published(10, 0);
    await running;
    expect(isMarked()).toBe(true);
    await one.sync();
    expect(isMarked()).toBe(false);
  });

  test("covers what was published before the call, even when a sync is under way", async () => {
    state.markUnsynced(Date.now());
    const one = syncer();
    one.published(10, 0);
    const order: string[] = [];
    const first = one.sync().then(() => order.push("first"));
    one.published(10, 0);
    const second = one.sync().then(() => order.push("second"));
    const third = one.sync().then(() => order.push("third"));
    await Promise.all([first, second, third]);
    expect(order[0]).toBe("first");
    expect(isMarked()).toBe(false);
  });

  test("says so when the disk cannot be synced, and tries again the next time", async () => {
    state.markUnsynced(Date.now());
    const gone = new BatchSyncer(
      folder.join("gone"),
      state,
      () => true,
      () => {},
    );
    gone.published(10, 0);
    for (let attempt = 0; attempt < 2; attempt++)
      expect(gone.sync()).rejects.toMatchObject({ code: "storage" });
    await gone.sync().catch(() => {});
    expect(isMarked()).toBe(true);
    fs.mkdirSync(folder.join("gone"));
    await gone.sync();
    expect(isMarked()).toBe(false);
  });

  test("also syncs what an earlier daemon published and did not live to sync", async () => {
    state.markUnsynced(Date.now());
    state.close(true); // as far as the record goes, it was killed: the mark is there
    state = new StateDirectory(folder.path, Date.now());
    expect(isMarked()).toBe(true);
    await syncer().sync();
    expect(isMarked()).toBe(false);
  });

  test("starts by itself when it is due, and tells of a failure", async () => {
    state.markUnsynced(Date.now());
    const one = syncer();
    one.published(300 * MIB, 0);
    await one.sync();
    expect(isMarked()).toBe(false);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const gone = new BatchSyncer(folder.join("gone"), state, () => true, resolve);
    gone.published(300 * MIB, 0);
    expect(await promise).toMatchObject({ code: "storage" });
  });
});
