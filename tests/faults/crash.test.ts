import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { receiving, sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";
import { dataFrame, fileFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const COUNT = 1500;

describe("a mirror that is killed", () => {
  test("in the middle of many files shows only whole ones, and the next run completes them", async () => {
    const files: Record<string, Buffer> = {};
    for (let index = 0; index < COUNT; index++) {
      files[`${index % 10}/file-${index}`] = Buffer.alloc(
        1 + ((index * 7919) % 60_000),
        `content of ${index} `,
      );
    }
    using source = new ScriptedSource({ files });
    await using stage = await Stage.open({ flags: ["-w", "6"] });
    let fetched = 0;
    for (const killAfter of [200, 400, 600]) {
      const order = stage.startOrder([sourceText(source)], ["--timeout", "1s"]);
      await source.until(() => (source.fetches.length - fetched > killAfter ? true : undefined), "fetches");
      await stage.mirror.stop("SIGKILL");
      expect((await order.finished()).code).toBe(7);
      fetched = source.fetches.length;
      for (const name of namesBelow(stage.mirrorDirectory)) {
        if (!/\/file-\d+$/.test(name)) continue;
        const own = name.slice(name.indexOf("/") + 1);
        const isWhole = readFileSync(join(stage.mirrorDirectory, name)).equals(files[own]!);
        expect({ name, isWhole }).toEqual({ name, isWhole: true });
      }
      await stage.startMirror(["-w", "6"]);
    }
    const { code, result } = await stage.order([sourceText(source)]);
    expect(code).toBe(0);
    expect(result.files).toBe(COUNT);
    expect(result.unchanged).toBeGreaterThan(0);
    for (const [name, bytes] of Object.entries(files)) {
      expect(readFileSync(join(stage.treeOf(source), name)).equals(bytes)).toBe(true);
    }
  });

  test("leaves unfinished files that the next start removes, and only those", async () => {
    const half = Buffer.alloc(100_000, "half");
    using stuck = new ScriptedSource({
      files: { "in/some/directory/large": Buffer.alloc(200_000), other: Buffer.alloc(200_000) },
      fetch: (connection, { id, digest }) =>
        connection.send(fileFrame(id, { size: 200_000 }), dataFrame(id, digest, half)),
    });
    await using stage = await Stage.open({ flags: ["-w", "4"] });
    const content = await stage.content("data", (directory) => {
      makeManyFiles(directory, { seed: 1, count: 50, directories: 5, minBytes: 0, maxBytes: 20_000 });
    });
    const order = stage.startOrder([sourceText(stuck), sourceText(content)]);
    await order.waitFor((event) => event.type === "source" && event["port"] === content.port);
    await receiving(order);
    await stuck.until(() => (stuck.fetches.length === 2 ? true : undefined), "both fetches");
    await stage.mirror.stop("SIGKILL");
    const unfinished = namesBelow(stage.mirrorDirectory).filter((name) => name.endsWith(".tmp"));
    expect(unfinished.length).toBeGreaterThan(0);

    await stage.startMirror();
    await stage.mirror.stderrMatch(new RegExp(`removed ${unfinished.length} unfinished file`));
    // The stuck order goes on, with unfinished files of its own.
    expect(namesBelow(stage.mirrorDirectory).filter((name) => unfinished.includes(name))).toEqual([]);
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    const again = await stage.order([sourceText(content)]);
    expect(again.result).toMatchObject({ unchanged: 50, bytesTransferred: 0 });
  });
});
