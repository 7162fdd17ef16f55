import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isTempName } from "../../src/disk/publication.ts";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray } from "../support/process.ts";
import { type ContentServer, sourceText, Stage } from "../support/stage.ts";
import { smallFileSystem, type TempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const MIB = 1024 * 1024;

const canMount = ((): boolean => {
  const disk = smallFileSystem(MIB);
  disk?.[Symbol.dispose]();
  return disk !== undefined;
})();

function smallDisk(sizeBytes: number): TempFolder {
  const disk = smallFileSystem(sizeBytes);
  if (disk === undefined) throw new Error("Mounting was permitted a moment ago");
  return disk;
}

/** Every file that is visible is one of the source, whole. */
function everythingVisibleIsWhole(stage: Stage, content: ContentServer): string[] {
  const files = namesBelow(stage.treeOf(content)).filter(
    (name) => !name.endsWith("/") && !isTempName(name.slice(name.lastIndexOf("/") + 1)),
  );
  for (const name of files) {
    expect(statSync(join(stage.treeOf(content), name)).size).toBe(
      statSync(join(content.directory, name)).size,
    );
    const compared = spawnSync("cmp", [join(stage.treeOf(content), name), join(content.directory, name)]);
    expect({ name, status: compared.status }).toEqual({ name, status: 0 });
  }
  return files;
}

describe.skipIf(!canMount)("a full disk (skipped where mounting is not permitted)", () => {
  test("what fits arrives, the order is parked and says so, and goes on by itself once there is room", async () => {
    using disk = smallDisk(8 * MIB);
    await using stage = await Stage.open({ mirrorDirectory: disk.path, flags: ["-w", "4"] });
    const content = await stage.content("data", (directory) => {
      makeManyFiles(directory, { seed: 1, count: 100, directories: 5, minBytes: 1000, maxBytes: 40_000 });
      makeLargeFile(join(directory, "large"), { seed: 2, sizeBytes: 12 * MIB });
      makeLargeFile(join(directory, "larger"), { seed: 3, sizeBytes: 14 * MIB });
    });
    const order = stage.startOrder([sourceText(content)]);
    const parked = await order.event("parked");
    expect(parked).toMatchObject({ code: "no-space", message: expect.stringContaining("no space left") });
    await stage.mirror.stderrMatch(/no space left/);
    everythingVisibleIsWhole(stage, content);

    spawnSync("mount", ["-o", `remount,size=${64 * MIB}`, disk.path]);
    const { code, events } = await order.finished({ timeoutMs: 60_000 });
    expect(code).toBe(0);
    expect(events.at(-1)).toMatchObject({ type: "result", files: 102, failed: 0 });
    const notes = events.map(({ type }) => type).filter((type) => type === "parked" || type === "resumed");
    expect(notes).toEqual(["parked", "resumed"]);
    expect(everythingVisibleIsWhole(stage, content)).toHaveLength(102);
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    // Only the two that did not fit came twice, and of each no more than the disk holds and was on its way.
    const sourceBytes = Number(events.at(-1)!["bytes"]);
    expect(Number(events.at(-1)!["bytesTransferred"])).toBeLessThan(sourceBytes + 2 * (8 + 1) * MIB);
  });

  test.each(["batch", "none", "strict"])(
    "a disk without a single free byte (--durability %s)",
    async (durability) => {
      using disk = smallDisk(4 * MIB);
      await using stage = await Stage.open({
        mirrorDirectory: disk.path,
        flags: ["--durability", durability],
      });
      const content = await stage.content("data", (directory) => {
        makeManyFiles(directory, { seed: 4, count: 50, directories: 5, minBytes: 1000, maxBytes: 10_000 });
      });
      fillUp(disk);
      for (let round = 1; round <= 2; round++) {
        const full = await tryOrder(stage, content);
        expect(full.said).toContain("no space left");
        expect(full.code).not.toBe(0);
        expect(full.files).toBe(0);
        expect(namesBelow(disk.path).filter((name) => name.includes("file"))).toEqual([]);
      }
      rmSync(disk.join("ballast"));
      const { code } = await stage.order([sourceText(content)]);
      expect(code).toBe(0);
      expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
      expect((await stage.mirror.stop()).code).toBe(0);
    },
  );

  test("a disk that becomes full while the mirror is idle, and stays so until it is stopped", async () => {
    using disk = smallDisk(4 * MIB);
    await using stage = await Stage.open({ mirrorDirectory: disk.path });
    const content = await stage.content("data", (directory) => {
      makeManyFiles(directory, { seed: 5, count: 10, directories: 1, minBytes: 1000, maxBytes: 10_000 });
    });
    expect((await stage.order([sourceText(content)])).code).toBe(0);
    fillUp(disk);
    // Nothing is to be written, and yet a mirror may be too careful to take the order.
    const full = await tryOrder(stage, content);
    if (full.code === 0) expect(full.files).toBe(10);
    else expect(full.said).toContain("no space left");
    await stage.mirror.stop();
    expect(stage.mirror.stderrText()).not.toContain("a fault in dray");

    rmSync(disk.join("ballast"));
    await stage.startMirror();
    expect((await stage.order([sourceText(content)])).result.unchanged).toBe(10);
  });

  test("a mirror that starts on a full disk says that it is full", async () => {
    using disk = smallDisk(MIB);
    fillUp(disk);
    const { code, stderr } = await runDray(["mirror", "-p", "0", "-m", disk.join("mirror")]);
    expect(code).not.toBe(0);
    expect(stderr).toContain("no space left");
    expect(stderr).not.toContain("another dray");
    expect(stderr).not.toContain("a fault in dray");
  });
});

/** An order that the mirror may refuse as a whole, or take and park: then nobody waits for it. */
async function tryOrder(
  stage: Stage,
  content: ContentServer,
): Promise<{ code: number | null; said: string; files: number }> {
  const order = stage.startOrder([sourceText(content)]);
  for await (const { type } of order.lines()) {
    if (type === "parked") order.kill("SIGINT");
  }
  const { code, stdout, stderr, events } = await order.finished();
  const result = events.find(({ type }) => type === "result");
  return { code, said: stdout + stderr, files: Number(result?.["files"] ?? 0) };
}

/** Writes until nothing goes in any more. */
function fillUp(disk: TempFolder): void {
  for (const size of [64 * 1024, 4096, 512, 1]) {
    try {
      for (;;) writeFileSync(disk.join("ballast"), Buffer.alloc(size), { flag: "a" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
}
