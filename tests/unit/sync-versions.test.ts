import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DirectorySyncs } from "../../src/sync/directory-syncs.ts";
import { parseVersionName, versionName } from "../../src/sync/version-name.ts";
import { VERSION_DEFAULTS, type VersionLimits, versionsToDrop } from "../../src/sync/version-retention.ts";
import { Versions } from "../../src/sync/versions.ts";
import type { DiskSettings } from "../support/simulated-disk.ts";
import { SimulatedWorld } from "../support/sync-ports.ts";
import { writeText } from "../support/sync-texts.ts";

const DAY_MS = 86_400_000;

function opened(limits: Partial<VersionLimits> = {}, disk: Partial<DiskSettings> = {}) {
  const world = new SimulatedWorld(1);
  const machine = world.machine("10.0.0.1", disk);
  const { tree, clock } = machine.boot();
  const versions = new Versions(tree, clock, new DirectorySyncs(tree), { ...VERSION_DEFAULTS, ...limits });
  /** Saves a text anew, as editors do, and keeps it. */
  const keep = (name: string, text: string, md5?: Uint8Array) => {
    const path = name.split("/");
    if (tree.stat(path) !== undefined) tree.unlink(path);
    writeText(tree, name, text);
    world.clock.pass(10);
    return world.clock.settled(versions.keep(path, tree.stat(path)!, "replaced", md5))!.version;
  };
  const text = (name: string, id?: string): string => {
    const { file, version } = versions.open(name.split("/"), id);
    const bytes = new Uint8Array(version.sizeBytes);
    file.read(bytes, 0);
    file.close();
    return Buffer.from(bytes).toString();
  };
  return { world, tree, versions, keep, text };
}

describe("retention", () => {
  const limits: VersionLimits = { maxAgeMs: 100, maxCount: 2, maxBytes: 10 };
  const version = (file: string, atMs: number, sizeBytes = 1) => ({ file, atMs, sizeBytes });

  test("drops what is too old, too many of one file, or does not fit", () => {
    const old = version("a", 0);
    const third = version("b", 150);
    const large = version("c", 160, 9);
    const kept = [version("b", 199), version("b", 198), version("d", 100)];
    expect(versionsToDrop([old, third, large, ...kept], limits, 200)).toEqual([large, third, old]);
  });

  test("keeps what fits behind something large, and takes the future for now", () => {
    expect(versionsToDrop([version("a", 500, 11), version("b", 100, 10)], limits, 100)).toEqual([
      version("a", 500, 11),
    ]);
  });

  test("never keeps more than the limits, and never drops without need", () => {
    const any = fc.array(
      fc.record({
        file: fc.constantFrom("a", "b", "c"),
        atMs: fc.integer({ min: 0, max: 300 }),
        sizeBytes: fc.integer({ min: 0, max: 6 }),
      }),
    );
    fc.assert(
      fc.property(any, (versions) => {
        const dropped = new Set(versionsToDrop(versions, limits, 250));
        const kept = versions.filter((each) => !dropped.has(each));
        const total = kept.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
        expect(total).toBeLessThanOrEqual(10);
        for (const each of kept) expect(250 - each.atMs).toBeLessThanOrEqual(100);
        for (const file of ["a", "b", "c"])
          expect(kept.filter((each) => each.file === file).length).toBeLessThanOrEqual(2);
        for (const each of dropped) {
          const newer = versions.filter((other) => other.file === each.file && other.atMs >= each.atMs);
          expect(250 - each.atMs > 100 || newer.length > 2 || total + each.sizeBytes > 10).toBe(true);
        }
      }),
    );
  });
});

describe("the name of a version", () => {
  test("says everything", () => {
    const md5 = "0123456789abcdef".repeat(2);
    const { file, ...name } = versionName(Date.UTC(2026, 10, 21, 11, 5, 32, 7), "deleted", md5);
    expect(file).toBe(`.dray-20261121T110532.007Z-deleted-${md5}`);
    expect(parseVersionName(file)).toEqual(name);
  });

  test("is read back as it was, and no other name is", () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true }),
        fc.constantFrom("replaced", "conflict", "restored"),
        (atMs, reason) => {
          const { file, ...name } = versionName(atMs, reason, undefined);
          expect(parseVersionName(file)).toEqual(name);
        },
      ),
    );
    for (const name of ["a.txt", ".dray-", ".dray-20261121T110532.007Z-eaten-unknown"])
      expect(parseVersionName(name)).toBeUndefined();
  });
});

describe("the versions of a file", () => {
  test("are there, the newest first, and can be read", () => {
    const { versions, keep, text } = opened();
    const kept = ["one", "two", "three"].map((content) => keep("d/a", content));
    expect(versions.history(["d", "a"])).toEqual(kept.toReversed());
    expect(text("d/a")).toBe("three");
    expect(text("d/a", kept[0]!.id)).toBe("one");
    expect(() => text("d/a", "2026")).toThrow("3 of its versions begin");
    expect(() => text("d/a", "1999")).toThrow("no version 1999");
    expect(() => text("d/none")).toThrow("no version of it");
    expect([...versions.paths()]).toEqual([["d", "a"]]);
  });

  test("do not mix with those of files below a directory of the same name", () => {
    const { tree, world, versions, keep } = opened();
    keep("a", "file");
    world.clock.settled(versions.take(["a"], tree.stat(["a"])!, "deleted", undefined));
    keep("a/b", "below");
    expect(versions.history(["a"]).length).toBe(2);
    expect(versions.history(["a", "b"]).length).toBe(1);
    expect([...versions.paths()]).toEqual([["a"], ["a", "b"]]);
  });

  test("are at most so many", () => {
    const { versions, keep, text } = opened({ maxCount: 3 });
    for (let round = 0; round < 8; round++) keep("a", `${round}`);
    expect(versions.history(["a"]).map(({ id }) => text("a", id))).toEqual(["7", "6", "5"]);
  });

  test("keep their order when the clock is set back", () => {
    const { world, versions, keep, text } = opened();
    keep("a", "first");
    world.clock.jumpWall(-DAY_MS);
    keep("a", "second");
    expect(versions.history(["a"]).map(({ id }) => text("a", id))).toEqual(["second", "first"]);
  });

  test("of one and the same file are one", () => {
    const { world, tree, versions, keep } = opened();
    keep("a", "text");
    world.clock.settled(versions.keep(["a"], tree.stat(["a"])!, "replaced", undefined));
    expect(versions.history(["a"]).length).toBe(1);
  });

  test("are not made of something else than was meant", () => {
    const { world, tree, versions } = opened();
    writeText(tree, "a", "seen");
    const seen = tree.stat(["a"])!;
    world.clock.pass(5);
    writeText(tree, "a", "newer");
    expect(world.clock.settled(versions.keep(["a"], seen, "replaced", undefined))).toBeUndefined();
    expect(world.clock.settled(versions.take(["a"], seen, "deleted", undefined))).toBeUndefined();
    expect(versions.history(["a"])).toEqual([]);
  });

  test("are copies where there are no hard links", () => {
    const { tree, keep, text } = opened({}, { hasHardLinks: false });
    keep("a", "x".repeat(600_000));
    writeText(tree, "a", "y");
    expect(text("a")).toBe("x".repeat(600_000));
  });
});

describe("pruning", () => {
  test("removes by age and by bytes, and the folders that are empty then", () => {
    const { world, tree, versions, keep } = opened({ maxBytes: 10, maxAgeMs: 10 * DAY_MS });
    keep("old/a", "1234");
    world.clock.pass(11 * DAY_MS);
    keep("b", "12345678");
    keep("c", "123456");
    expect(versions.wantsPrune).toBe(true);
    expect(world.clock.settled(versions.prune())).toBe(2);
    expect([...versions.paths()]).toEqual([["c"]]);
    expect(tree.stat([".dray", "versions", "old"])).toBeUndefined();
    expect(versions.wantsPrune).toBe(false);
    keep("d", "12345");
    expect(versions.wantsPrune).toBe(true);
    expect(world.clock.settled(versions.prune())).toBe(1);
    expect([...versions.paths()]).toEqual([["d"]]);
  });

  test("has nothing to do without versions", () => {
    const { world, versions } = opened();
    expect(world.clock.settled(versions.prune())).toBe(0);
  });
});
