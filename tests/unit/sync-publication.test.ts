import { describe, expect, test } from "bun:test";
import type { OpenFile, Stat, TreePath } from "../../src/sync/ports.ts";
import type { Keep } from "../../src/sync/publication.ts";
import { openStore, type Store } from "../../src/sync/store.ts";
import { VERSION_DEFAULTS } from "../../src/sync/version-retention.ts";
import type { DiskSettings } from "../support/simulated-disk.ts";
import { type SimulatedTree, systemError } from "../support/simulated-tree.ts";
import { SimulatedWorld, type SimulatedMachine } from "../support/sync-ports.ts";
import { stageText, textAt, textsBelow, writeText } from "../support/sync-texts.ts";

const PATH = ["docs", "a.txt"];
const NAME = "docs/a.txt";
const COPY = ["docs", "a (conflict).txt"];
const AS_VERSION: Keep = { as: "version", reason: "replaced", md5: undefined };

/** A machine whose `docs/a.txt` holds "old", durably. */
function prepared(
  seed: number,
  disk: Partial<DiskSettings> = {},
): { world: SimulatedWorld; machine: SimulatedMachine } {
  const world = new SimulatedWorld(seed);
  const machine = world.machine("10.0.0.1", disk);
  const user = machine.user();
  writeText(user, NAME, "old");
  const file = user.open(PATH);
  world.clock.settled(file.sync());
  file.close();
  for (const path of [[], ["docs"]]) world.clock.settled(user.syncDirectory(path));
  world.clock.pass(1000);
  return { world, machine };
}

function boot(machine: SimulatedMachine): { tree: SimulatedTree; store: Store } {
  const ports = machine.boot();
  return { tree: ports.tree, store: openStore(ports, VERSION_DEFAULTS) };
}

function versionsOf(store: Store, path: TreePath): string[] {
  return store.versions.history(path).map(({ id }) => {
    const { file, version } = store.versions.open(path, id);
    const bytes = new Uint8Array(version.sizeBytes);
    file.read(bytes, 0);
    file.close();
    return Buffer.from(bytes).toString();
  });
}

describe("publishing", () => {
  test("makes a new file visible, with its folders, and durably", () => {
    const { world, machine } = prepared(1);
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "hello");
    const path = ["new", "deep", "b.txt"];
    const mtimeNs = 1_700_000_000_123_456_789n;
    const order = { path, expected: undefined, mtimeNs, keep: AS_VERSION };
    const outcome = world.clock.settled(store.publisher.publish(staged, order));
    expect(outcome).toEqual({ outcome: "published", stat: tree.stat(path)! });
    expect(tree.stat(path)!.mtimeNs).toBe(mtimeNs);
    expect(tree.list([".dray", "staging"])).toEqual([]);
    expect(tree.openFiles).toBe(0);
    machine.losePower();
    expect(textAt(machine.user(), "new/deep/b.txt")).toBe("hello");
  });

  test("replaces a file, keeps its mode, and its old content as a version", () => {
    const { world, machine } = prepared(2);
    const user = machine.user();
    const script = user.openToWrite(PATH);
    script.setMode(0o755);
    script.close();
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "new");
    const order = { path: PATH, expected: tree.stat(PATH), keep: AS_VERSION };
    expect(world.clock.settled(store.publisher.publish(staged, order)).outcome).toBe("published");
    machine.losePower();
    const after = boot(machine);
    expect(textAt(after.tree, NAME)).toBe("new");
    expect(after.tree.stat(PATH)!.mode).toBe(0o755);
    expect(versionsOf(after.store, PATH)).toEqual(["old"]);
  });

  test.each(["before", "while the old one is kept", "at the last moment"])(
    "does not replace what somebody wrote %s",
    (moment) => {
      const { world, machine } = prepared(3);
      const { tree, store } = boot(machine);
      const staged = stageText(store.staging, "new");
      const expected = tree.stat(PATH);
      const write = (): void => {
        machine.disk.before = () => {};
        writeText(machine.user(), NAME, "mine");
      };
      if (moment === "before") write();
      else {
        const kind = moment === "at the last moment" ? "sync-directory" : "link";
        machine.disk.before = (operation) => void (operation.kind === kind && write());
      }
      const outcome = world.clock.settled(
        store.publisher.publish(staged, { path: PATH, expected, keep: AS_VERSION }),
      );
      expect(outcome).toEqual({ outcome: "changed", found: tree.stat(PATH)! });
      expect(textAt(tree, NAME)).toBe("mine");
      const again = { path: PATH, expected: tree.stat(PATH), keep: AS_VERSION };
      expect(world.clock.settled(store.publisher.publish(staged, again)).outcome).toBe("published");
      expect(textAt(tree, NAME)).toBe("new");
      expect(versionsOf(store, PATH)).toContain("mine");
    },
  );

  test("does not replace a file that came into being meanwhile, nor one that was saved by renaming", () => {
    const { world, machine } = prepared(4);
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "new");
    machine.disk.before = ({ kind, path }) => {
      if (kind !== "link" || path.join("/") !== "docs/fresh") return;
      machine.disk.before = () => {};
      writeText(machine.user(), "docs/fresh", "mine");
    };
    const fresh = { path: ["docs", "fresh"], expected: undefined, keep: AS_VERSION };
    expect(world.clock.settled(store.publisher.publish(staged, fresh)).outcome).toBe("changed");
    expect(textAt(tree, "docs/fresh")).toBe("mine");

    const expected = tree.stat(PATH);
    writeText(machine.user(), "docs/.tmp", "saved");
    machine.user().rename(["docs", ".tmp"], PATH);
    const replacing = { path: PATH, expected, keep: AS_VERSION };
    expect(world.clock.settled(store.publisher.publish(staged, replacing)).outcome).toBe("changed");
    expect(textAt(tree, NAME)).toBe("saved");
  });

  test("finds a write that left size and time as they were", () => {
    const { world, machine } = prepared(5);
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "new");
    const expected = tree.stat(PATH)!;
    const file = machine.user().openToWrite(PATH);
    file.write(Buffer.from("OLD"), 0);
    file.setMtime(expected.mtimeNs);
    file.close();
    expect(
      world.clock.settled(store.publisher.publish(staged, { path: PATH, expected, keep: AS_VERSION }))
        .outcome,
    ).toBe("changed");
  });

  test("keeps a conflicting content under a name of its own", () => {
    const { world, machine } = prepared(6);
    const { tree, store } = boot(machine);
    const order = { path: PATH, expected: tree.stat(PATH), keep: { as: "copy", path: COPY } as const };
    const outcome = world.clock.settled(store.publisher.publish(stageText(store.staging, "new"), order));
    expect(outcome.outcome).toBe("published");
    machine.losePower();
    expect(Object.fromEntries(textsBelow(machine.user()))).toEqual({
      [NAME]: "new",
      [COPY.join("/")]: "old",
    });
  });

  test("refuses to replace a directory or to go through a link", () => {
    const { world, machine } = prepared(7);
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "new");
    const onDirectory = { path: ["docs"], expected: tree.stat(["docs"]), keep: AS_VERSION };
    expect(() => world.clock.settled(store.publisher.publish(staged, onDirectory))).toThrow("in the way");
    machine.user().makeLink(["link"]);
    const through = { path: ["link", "x"], expected: undefined, keep: AS_VERSION };
    expect(() => world.clock.settled(store.publisher.publish(staged, through))).toThrow("symbolic link");
    const below = { path: [...PATH, "x"], expected: undefined, keep: AS_VERSION };
    expect(() => world.clock.settled(store.publisher.publish(staged, below))).toThrow();
    expect(textAt(tree, NAME)).toBe("old");
  });

  test("leaves everything as it was when the disk is full, and succeeds later with the same staged file", () => {
    const { world, machine } = prepared(8, { hasHardLinks: false });
    const { tree, store } = boot(machine);
    const staged = stageText(store.staging, "new");
    machine.disk.settings = { ...machine.disk.settings, capacityBytes: machine.disk.usedBytes() };
    const order = { path: PATH, expected: tree.stat(PATH), keep: AS_VERSION };
    expect(() => world.clock.settled(store.publisher.publish(staged, order))).toThrow("ENOSPC");
    expect(textAt(tree, NAME)).toBe("old");
    expect(store.versions.history(PATH)).toEqual([]);
    machine.disk.settings = { ...machine.disk.settings, capacityBytes: Infinity };
    expect(world.clock.settled(store.publisher.publish(staged, order)).outcome).toBe("published");
    expect(tree.openFiles).toBe(0);
  });

  test("shares the syncs of a directory among files that are published together", () => {
    const { world, machine } = prepared(9);
    const { store } = boot(machine);
    let syncs = 0;
    machine.disk.before = ({ kind, path }) =>
      void (kind === "sync-directory" && path.join("/") === "many" && syncs++);
    const published = Array.from({ length: 50 }, (_, index) =>
      store.publisher.publish(stageText(store.staging, "x"), {
        path: ["many", `${index}`],
        expected: undefined,
        keep: AS_VERSION,
      }),
    );
    world.clock.settled(Promise.all(published));
    expect(syncs).toBeLessThan(25);
  });
});

describe("removing", () => {
  test("moves the file to the versions, and takes the empty directories away", () => {
    const { world, machine } = prepared(10);
    const { tree, store } = boot(machine);
    const md5 = new Uint8Array(16).fill(0xab);
    const outcome = world.clock.settled(store.publisher.remove(PATH, tree.stat(PATH)!, "deleted", md5));
    expect(outcome.outcome).toBe("removed");
    expect(tree.stat(["docs"])).toBeUndefined();
    machine.losePower();
    const after = boot(machine);
    expect(after.tree.stat(PATH)).toBeUndefined();
    expect(versionsOf(after.store, PATH)).toEqual(["old"]);
    expect(after.store.versions.history(PATH)[0]).toMatchObject({ reason: "deleted", md5: "ab".repeat(16) });
  });

  test.each([true, false])(
    "gives back what somebody wrote at the last moment (hard links: %p)",
    (hasHardLinks) => {
      const { world, machine } = prepared(11, { hasHardLinks });
      const { tree, store } = boot(machine);
      machine.disk.before = ({ kind }) => {
        if (kind !== "rename") return;
        machine.disk.before = () => {};
        writeText(machine.user(), NAME, "mine");
      };
      const outcome = world.clock.settled(
        store.publisher.remove(PATH, tree.stat(PATH)!, "deleted", undefined),
      );
      expect(outcome.outcome).toBe("changed");
      expect(textAt(tree, NAME)).toBe("mine");
    },
  );

  test("moves a file aside, but not onto another one", () => {
    const { world, machine } = prepared(12);
    const { tree, store } = boot(machine);
    writeText(machine.user(), "taken", "other");
    expect(() => world.clock.settled(store.publisher.moveAside(PATH, tree.stat(PATH)!, ["taken"]))).toThrow(
      "EEXIST",
    );
    const moved = world.clock.settled(store.publisher.moveAside(PATH, tree.stat(PATH)!, ["free", "a"]));
    expect(moved).toEqual(tree.stat(["free", "a"]));
    expect(Object.fromEntries(textsBelow(tree))).toEqual({ taken: "other", "free/a": "old" });
  });
});

/** Everything that must be true of docs/a.txt, whenever the power failed. */
interface Story {
  run(store: Store, expected: Stat): Promise<unknown>;
  /** @param isDone whether run() had ended before */
  check(after: { tree: SimulatedTree; store: Store }, isDone: boolean): void;
}

const STORIES: Record<string, Story> = {
  replace: {
    run: async (store, expected) =>
      await store.publisher.publish(stageText(store.staging, "new"), {
        path: PATH,
        expected,
        keep: AS_VERSION,
      }),
    check({ tree, store }, isDone) {
      const text = textAt(tree, NAME)!;
      expect(isDone ? ["new"] : ["old", "new"]).toContain(text);
      if (text === "new") expect(versionsOf(store, PATH)).toContain("old");
    },
  },
  create: {
    run: async (store) =>
      await store.publisher.publish(stageText(store.staging, "new"), {
        path: ["fresh", "b"],
        expected: undefined,
        keep: AS_VERSION,
      }),
    check({ tree }, isDone) {
      expect(isDone ? ["new"] : [undefined, "new"]).toContain(textAt(tree, "fresh/b"));
    },
  },
  conflict: {
    run: async (store, expected) =>
      await store.publisher.publish(stageText(store.staging, "new"), {
        path: PATH,
        expected,
        keep: { as: "copy", path: COPY },
      }),
    check({ tree }, isDone) {
      const text = textAt(tree, NAME)!;
      expect(isDone ? ["new"] : ["old", "new"]).toContain(text);
      if (text === "new") expect(textAt(tree, COPY.join("/"))).toBe("old");
    },
  },
  remove: {
    run: async (store, expected) => await store.publisher.remove(PATH, expected, "deleted", undefined),
    check({ tree, store }, isDone) {
      const text = textAt(tree, NAME);
      expect(isDone ? [undefined] : ["old", undefined]).toContain(text);
      if (text === undefined) expect(versionsOf(store, PATH)).toEqual(["old"]);
    },
  },
  moveAside: {
    run: async (store, expected) => await store.publisher.moveAside(PATH, expected, COPY),
    check({ tree }) {
      expect([textAt(tree, NAME), textAt(tree, COPY.join("/"))]).toContain("old");
    },
  },
};

/** Plays a story on a fresh machine; the power fails at the n-th operation of the disk, or event of the clock. */
function play(
  story: Story,
  seed: number,
  disk: Partial<DiskSettings>,
  fails: { atOperation?: number; atEvent?: number },
): boolean {
  const { world, machine } = prepared(seed, disk);
  const { tree, store } = boot(machine);
  const eventsBefore = world.clock.taken;
  let operations = 0;
  let hasFailed = false;
  const fail = (): void => {
    hasFailed = true;
    machine.losePower();
  };
  machine.disk.before = () => void (++operations === fails.atOperation && fail());
  let isDone = false;
  story.run(store, tree.stat(PATH)!).then(
    () => (isDone = true),
    (error: unknown) => expect(hasFailed, String(error)).toBe(true),
  );
  while (!hasFailed && world.clock.step()) if (world.clock.taken - eventsBefore === fails.atEvent) fail();
  machine.disk.before = () => {};
  const hasFailedInTime = hasFailed;
  if (!hasFailed) machine.losePower();
  const after = boot(machine);
  story.check(after, isDone);
  after.store.staging.clear();
  // And whatever is there, it can be gone on with.
  const again = { path: PATH, expected: after.tree.stat(PATH), keep: AS_VERSION };
  const staged = stageText(after.store.staging, "again");
  expect(world.clock.settled(after.store.publisher.publish(staged, again)).outcome).toBe("published");
  return hasFailedInTime;
}

describe("the power fails at every operation and between all events of", () => {
  for (const [name, story] of Object.entries(STORIES)) {
    for (const hasHardLinks of [true, false]) {
      test(`${name}, ${hasHardLinks ? "with" : "without"} hard links`, () => {
        for (let seed = 1; seed <= 12; seed++) {
          const disk: Partial<DiskSettings> = { hasHardLinks, nameLoss: seed % 2 === 0 ? "any" : "ordered" };
          let boundaries = 0;
          for (let atOperation = 1; play(story, seed, disk, { atOperation }); atOperation++) boundaries++;
          for (let atEvent = 1; play(story, seed, disk, { atEvent }); atEvent++) boundaries++;
          expect(boundaries).toBeGreaterThan(3);
        }
      });
    }
  }
});

test("a staged file that cannot be removed is left to the next start", () => {
  const { machine } = prepared(14);
  const { store } = boot(machine);
  const staged = stageText(store.staging, "a");
  machine.disk.before = ({ kind }) => {
    if (kind === "unlink") throw systemError("EIO");
  };
  staged.discard();
  machine.disk.before = () => {};
  expect(boot(machine).store.staging.clear()).toBe(1);
});

test("what the disk refused while a large file grew is not forgotten when a later sync succeeds", () => {
  const { world, machine } = prepared(14);
  const { tree, store } = boot(machine);
  const staged = store.staging.create();
  const { file } = staged;
  const sync = file.sync.bind(file);
  let syncs = 0;
  file.sync = () => (++syncs === 1 ? Promise.reject(systemError("EIO")) : sync());
  const portion = new Uint8Array(8 * 1024 * 1024);
  for (let count = 0; count < 9; count++) staged.append(portion);
  expect(syncs).toBe(1);
  const order = { path: ["large"], expected: undefined, keep: AS_VERSION };
  expect(() => world.clock.settled(store.publisher.publish(staged, order))).toThrow(/EIO/);
  expect(tree.stat(["large"])).toBeUndefined();
  staged.discard();
});

test("leftovers of staging are removed, and nothing else", () => {
  const { machine } = prepared(13);
  const { store } = boot(machine);
  const files: OpenFile[] = [stageText(store.staging, "a").file, stageText(store.staging, "b").file];
  machine.kill();
  expect(() => files[0]!.stat()).toThrow();
  const after = boot(machine);
  expect(after.store.staging.clear()).toBe(2);
  expect(after.store.staging.clear()).toBe(0);
  expect(textAt(after.tree, NAME)).toBe("old");
});
