import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { STATE_DIRECTORY } from "../../src/disk/trash.ts";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import type { ListedItem } from "../../src/mirror/journal.ts";
import { StateDirectory } from "../../src/mirror/state-directory.ts";
import { codeOf } from "../property/error-code.ts";
import { startProgram } from "../support/process.ts";
import { type TempFolder, smallFileSystem, tempFolder } from "../support/temp.ts";

const NOW_MS = 1_700_000_000_000;
/** What a span begins earlier than the mark, at most: clocks and file times differ a little. */
const SLACK_MS = 10_000;

let folder: TempFolder;
const opened: StateDirectory[] = [];

beforeEach(() => {
  folder = tempFolder();
});
afterEach(() => {
  for (const state of opened.splice(0)) state.close(true);
  folder[Symbol.dispose]();
});

function open(nowMs = NOW_MS): StateDirectory {
  const state = new StateDirectory(folder.path, nowMs);
  opened.push(state);
  return state;
}

function close(state: StateDirectory, isTidy = true): void {
  opened.splice(opened.indexOf(state), 1);
  state.close(isTidy);
}

const ORDER = {
  request: {
    sources: [{ host: "a.example", port: 9000, path: ".", delayMs: 0 }],
    ...{ attempts: 5, patienceMs: 60_000, include: [], exclude: [] },
  },
  ...{ createdMs: NOW_MS, startedMs: NOW_MS, dueMs: undefined, bytesTransferred: 0, result: undefined },
};

function file(path: string, state: keyof typeof ITEM_STATE): ListedItem {
  const facts = { sizeBytes: 10, mtimeUs: 1, mode: 0o644, target: "" };
  return { kind: "file", path, ...facts, state: ITEM_STATE[state], failure: undefined };
}

const recordPath = (): string => folder.join(STATE_DIRECTORY, "sync-state.json");

function fail(message: string): never {
  throw new Error(message);
}

/** As if the machine had been started anew since. */
function reboot(): void {
  const record = JSON.parse(fs.readFileSync(recordPath(), "utf8")) as { bootId: string };
  fs.writeFileSync(recordPath(), JSON.stringify({ ...record, bootId: `before ${record.bootId}` }));
}

describe("the lock", () => {
  test("keeps a second daemon out, until the first lets go", () => {
    const first = open();
    expect(codeOf(() => new StateDirectory(folder.path, NOW_MS))).toBe("refused");
    expect(() => new StateDirectory(folder.path, NOW_MS)).toThrow(/another dray is using/);
    close(first);
    open();
  });

  test("keeps another process out, and goes away with a process that is killed", async () => {
    const script = `
      import { StateDirectory } from ${JSON.stringify(`${import.meta.dir}/../../src/mirror/state-directory.ts`)};
      const state = new StateDirectory(${JSON.stringify(folder.path)}, ${NOW_MS});
      state.markUnsynced(${NOW_MS});
      console.log("locked");
      setInterval(() => state, 1000);`;
    await using holder = startProgram([process.execPath, "-e", script]);
    await holder.stdoutMatch(/locked/);
    expect(codeOf(() => new StateDirectory(folder.path, NOW_MS))).toBe("refused");
    holder.kill("SIGKILL");
    await holder.exit;
    const state = open();
    expect(state.wasKilled).toBe(true);
    expect(state.distrusted).toBeUndefined(); // the machine stayed up: nothing was lost
  });
});

describe("a lock that cannot be had for another reason", () => {
  test("is not said to be another mirror: the lock file is none", () => {
    fs.mkdirSync(folder.join(STATE_DIRECTORY));
    fs.writeFileSync(folder.join(STATE_DIRECTORY, "lock"), "not a database at all ".repeat(200));
    expect(codeOf(() => open())).toBe("storage");
  });

  test("is not said to be another mirror: a directory has its name", () => {
    fs.mkdirSync(folder.join(STATE_DIRECTORY, "lock"), { recursive: true });
    expect(codeOf(() => open())).toBe("storage");
  });

  test("is not said to be another mirror: the disk is full", () => {
    using small = smallFileSystem(256 * 1024);
    if (small === undefined) return;
    const filler = fs.openSync(small.join("filler"), "w");
    try {
      for (;;) fs.writeSync(filler, new Uint8Array(4096));
    } catch {
      fs.closeSync(filler);
    }
    expect(codeOf(() => new StateDirectory(small.path, NOW_MS))).toBe("no-space");
  });
});

describe("how the last daemon ended", () => {
  test("is known: for the first time, orderly, killed", () => {
    const first = open();
    expect(first.wasKilled).toBe(false);
    close(first);
    const second = open();
    expect(second.wasKilled).toBe(false);
    const copy = fs.readFileSync(recordPath());
    close(second);
    fs.writeFileSync(recordPath(), copy); // as if it had never been closed
    const third = open();
    expect(third.wasKilled).toBe(true);
    close(third, false); // it could not tidy up
    expect(open().wasKilled).toBe(true);
  });
});

describe("after the machine was started anew", () => {
  test("nothing is distrusted when everything was synced", () => {
    const state = open();
    state.markUnsynced(NOW_MS + 1000);
    state.synced(NOW_MS + 2000, true);
    close(state);
    reboot();
    expect(open(NOW_MS + 100_000).distrusted).toBeUndefined();
  });

  test("everything since the first mark after the last clean point is distrusted", () => {
    const state = open();
    state.markUnsynced(NOW_MS + 1_000);
    state.synced(NOW_MS + 2_000, true);
    state.markUnsynced(NOW_MS + 500_000);
    state.markUnsynced(NOW_MS + 900_000); // the first one counts
    close(state);
    reboot();
    const { distrusted } = open(NOW_MS + 1_000_000);
    expect(distrusted!.fromMs).toBeLessThanOrEqual(NOW_MS + 500_000);
    expect(distrusted!.fromMs).toBeGreaterThan(NOW_MS + 500_000 - SLACK_MS);
    expect(distrusted!.untilMs).toBe(NOW_MS + 1_000_000);
  });

  test("a sync while others were at work covers what was before it began, and no more", () => {
    const state = open();
    state.markUnsynced(NOW_MS + 1_000);
    state.synced(NOW_MS + 300_000, false);
    close(state);
    reboot();
    const { distrusted } = open(NOW_MS + 1_000_000);
    expect(distrusted!.fromMs).toBeLessThanOrEqual(NOW_MS + 300_000);
    expect(distrusted!.fromMs).toBeGreaterThan(NOW_MS + 300_000 - SLACK_MS);
  });

  test("what was distrusted stays so, and a second crash adds to it", () => {
    const first = open();
    first.markUnsynced(NOW_MS);
    close(first);
    reboot();
    const second = open(NOW_MS + 100_000);
    const span = second.distrusted!;
    close(second); // without any sync of what the span holds
    expect(open(NOW_MS + 200_000).distrusted).toEqual(span);
    close(opened[0]!);
    reboot();
    expect(open(NOW_MS + 300_000).distrusted).toEqual(span);
    opened[0]!.markUnsynced(NOW_MS + 400_000);
    close(opened[0]!);
    reboot();
    expect(open(NOW_MS + 500_000).distrusted).toEqual({ fromMs: span.fromMs, untilMs: NOW_MS + 500_000 });
  });

  test("a mark survives a restart of the daemon alone: the next reboot still counts from it", () => {
    const first = open();
    first.markUnsynced(NOW_MS);
    close(first);
    const second = open(NOW_MS + 100_000);
    expect(second.distrusted).toBeUndefined();
    close(second);
    reboot();
    expect(open(NOW_MS + 200_000).distrusted!.fromMs).toBeLessThanOrEqual(NOW_MS);
  });

  test("a mark is on disk before the call returns", () => {
    const state = open();
    state.markUnsynced(NOW_MS);
    expect(JSON.parse(fs.readFileSync(recordPath(), "utf8"))).toHaveProperty("unsyncedSinceMs");
  });
});

describe("what another boot leaves to be looked at", () => {
  test("is nothing after a first start, or a restart of the daemon alone", () => {
    const state = open();
    expect(state.uncheckedSinceMs).toBeUndefined();
    state.markUnsynced(NOW_MS);
    close(state, false);
    expect(open().uncheckedSinceMs).toBeUndefined();
  });

  test("begins where unsynced writes began; at the start after an orderly end; with everything after a kill", () => {
    const marked = open();
    marked.markUnsynced(NOW_MS + 50_000);
    close(marked, false);
    reboot();
    const second = open(NOW_MS + 100_000);
    expect(second.uncheckedSinceMs).toBeLessThanOrEqual(NOW_MS + 50_000);
    expect(second.uncheckedSinceMs).toBeGreaterThan(NOW_MS + 50_000 - SLACK_MS);
    second.checked();
    second.markUnsynced(NOW_MS + 110_000);
    second.synced(NOW_MS + 120_000, true);
    close(second);
    reboot();
    const third = open(NOW_MS + 200_000);
    expect(third.uncheckedSinceMs).toBe(NOW_MS + 200_000);
    third.checked();
    close(third, false);
    reboot();
    expect(open(NOW_MS + 300_000).uncheckedSinceMs).toBe(0);
  });

  test("stays until all has been looked at, whoever is killed on the way", () => {
    close(open(), false);
    reboot();
    close(open(), false);
    const next = open(NOW_MS + 5_000);
    expect(next.uncheckedSinceMs).toBe(0);
    next.checked();
    close(next, false);
    expect(open(NOW_MS + 6_000).uncheckedSinceMs).toBeUndefined();
  });

  test("is all that running orders have achieved: the journal may have reached the disk before the files", () => {
    const ids = (): Record<string, number[]> => {
      const state = open(NOW_MS + 1_000);
      const journal = state.openJournal(fail);
      const waiting = (id: string): number[] => journal.toDo(id, 0, 0, 10).map((item) => item.id);
      const found = { running: waiting("a"), ended: waiting("b") };
      journal.close();
      close(state, false);
      return found;
    };
    const state = open();
    const journal = state.openJournal(fail);
    for (const [id, orderState] of [
      ["a", "running"],
      ["b", "done"],
    ] as const) {
      journal.saveOrder({ ...ORDER, id, state: orderState });
      journal.addItems(id, 0, [file("one", "done"), file("two", "unchanged"), file("three", "failed")]);
    }
    journal.close();
    close(state, false);
    expect(ids()).toEqual({ running: [], ended: [] });
    reboot();
    expect(ids()).toEqual({ running: [1, 2], ended: [] });
  });
});

describe("a record that the crash damaged", () => {
  test.each([
    ["is empty", ""],
    ["is full of zeros", "\0".repeat(120)],
    ["is cut", '{"bootId":"x","unsynced'],
    ["is something else", "null"],
    ["is an array", "[]"],
    ["is an object of nothing", "{}"],
    ["is a number", "5"],
    ["holds wrong types", '{"bootId":7,"isStopped":"yes"}'],
    ["holds a mark that is no number", '{"bootId":"x","isStopped":true,"unsyncedSinceMs":"soon"}'],
  ])("%s: nothing that is older than now is trusted", (_, text) => {
    close(open());
    fs.writeFileSync(recordPath(), text);
    const state = open(NOW_MS + 5_000);
    expect(state.distrusted).toEqual({ fromMs: 0, untilMs: NOW_MS + 5_000 });
    expect(state.wasKilled).toBe(true);
  });
});

test("a directory that cannot be made is an error that names it", () => {
  fs.writeFileSync(folder.join("file"), "");
  expect(() => new StateDirectory(folder.join("file"), NOW_MS)).toThrow(/file/);
});
