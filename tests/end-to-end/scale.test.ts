import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { diffTrees } from "../support/diff.ts";
import { peakRssBytes } from "../support/memory.ts";
import type { Program } from "../support/program.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(300_000);

const GIB = 1024 ** 3;
const LARGE_BYTES = 3 * GIB + 12_345;
const MEMORY_LIMIT_BYTES = 200_000_000;

function hasRoomFor(bytes: number): boolean {
  const { bavail, bsize } = statfsSync(tmpdir());
  return bavail * bsize > bytes;
}

/** The most memory that a program ever had, read at each of its events, because it ends by itself. */
async function peakWhileFollowing(order: Program): Promise<number> {
  let peak = 0;
  try {
    for await (const event of order.lines({ timeoutMs: 200_000 })) {
      if (event.type !== "result") peak = Math.max(peak, peakRssBytes(order.pid));
    }
  } catch (error) {
    if (!(error instanceof Error) || !/has ended|ENOENT/.test(error.message)) throw error;
  }
  return peak;
}

test.skipIf(!hasRoomFor(5 * GIB))(
  "10,000 small files and one of 3 GiB, in less than 200 MB of memory each (skipped without 5 GiB of disk)",
  async () => {
    await using stage = await Stage.open({ flags: ["-w", "8"] });
    const content = await stage.content("data", (directory) => {
      const many = { seed: 1, count: 10_000, directories: 100, minBytes: 100, maxBytes: 40_000 };
      makeManyFiles(join(directory, "many"), many);
      makeLargeFile(join(directory, "large"), { seed: 2, sizeBytes: LARGE_BYTES, sparse: true });
      mkdirSync(join(directory, "empty"));
    });
    const order = stage.startOrder([sourceText(content)]);
    const initiatorPeak = await peakWhileFollowing(order);
    const { code, events } = await order.finished({ timeoutMs: 200_000 });

    expect(events.at(-1)).toMatchObject({ type: "result", files: 10_001, failed: 0 });
    expect(code).toBe(0);
    const peaks = {
      content: peakRssBytes(content.program.pid),
      mirror: peakRssBytes(stage.mirror.pid),
      initiator: initiatorPeak,
    };
    console.log(
      "Peak memory:",
      Object.entries(peaks)
        .map(([name, bytes]) => `${name} ${Math.round(bytes / 1e6)} MB`)
        .join(", "),
    );
    for (const [name, bytes] of Object.entries(peaks)) {
      expect({ name, isBelow: bytes > 0 && bytes < MEMORY_LIMIT_BYTES }).toEqual({ name, isBelow: true });
    }
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);

    const again = await stage.order([sourceText(content)]);
    expect(again.result).toMatchObject({ files: 10_001, unchanged: 10_001, bytesTransferred: 0 });
  },
);
