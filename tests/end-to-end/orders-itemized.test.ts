import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { askMirror } from "../../src/mirror/ask-mirror.ts";
import { rejectionOf } from "../property/error-code.ts";
import { mirroredStage } from "../support/mirrored-stage.ts";
import { runDray } from "../support/process.ts";
import type { DrayEvent } from "../support/program.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";
import { leavesOf, snapshotOf } from "../support/tree-snapshot.ts";

setDefaultTimeout(90_000);

describe("what an order did, or would do, item by item", () => {
  const itemsIn = (events: readonly DrayEvent[]): DrayEvent[] => events.filter(({ type }) => type === "item");

  test("--dry-run --json ends with the plan, behind the items, and does nothing", async () => {
    const { stage, content } = await mirroredStage(4);
    await using _ = stage;
    rmSync(`${content.directory}/docs/1`);
    writeFileSync(`${content.directory}/docs/2`, "changed, and longer");
    writeFileSync(`${content.directory}/new`, "new");
    const before = snapshotOf(stage.mirrorDirectory, { metadata: true, except: [".dray"] });
    const { code, events, result } = await stage.order([sourceText(content)], {
      flags: ["--delete", "--dry-run"],
    });
    expect(code).toBe(0);
    expect(result.plan).toEqual({ files: 2, bytes: 22, deletions: 1 });
    expect(result).toMatchObject({ bytesTransferred: 0, deleted: 0, unchanged: 3, failed: 0 });
    const key = { host: "127.0.0.1", port: content.port, kind: "file", orderId: result.orderId };
    expect(itemsIn(events).sort((a, b) => String(a["path"]).localeCompare(String(b["path"])))).toEqual([
      { type: "item", ...key, path: "docs/1", action: "delete", sizeBytes: 6, reason: expect.any(String) },
      { type: "item", ...key, path: "docs/2", action: "fetch", sizeBytes: 19, reason: "changed" },
      { type: "item", ...key, path: "new", action: "fetch", sizeBytes: 3, reason: "new" },
    ]);
    expect(events.at(-1)!.type).toBe("result");
    expect(snapshotOf(stage.mirrorDirectory, { metadata: true, except: [".dray"] })).toEqual(before);

    const command = stage.orderCommand([sourceText(content)], ["--delete", "--dry-run"]);
    const { stdout } = await runDray(command.filter((flag) => flag !== "--json"));
    for (const words of [/docs\/1/, /docs\/2/, /Would be fetched +2 files/, /Would be deleted +1 file/]) {
      expect(stdout).toMatch(words);
    }
    const real = await stage.order([sourceText(content)], { flags: ["--delete", "--itemize"] });
    const without = (event: DrayEvent): DrayEvent => ({ ...event, orderId: "" });
    expect(itemsIn(real.events).map(without).sort(byPath)).toEqual(itemsIn(events).map(without).sort(byPath));
    expect(real.result).not.toHaveProperty("plan");
  });

  test("--itemize tells all of 10,000 files, page by page, each once", async () => {
    await using stage = await Stage.open({ flags: ["--durability", "none"] });
    const content = await stage.content("data", (directory) => {
      makeManyFiles(directory, { seed: 1, count: 10_000, directories: 20, minBytes: 0, maxBytes: 20 });
    });
    const { code, events, result } = await stage.order([sourceText(content)], { flags: ["--itemize"] });
    expect([code, result.files]).toEqual([0, 10_000]);
    const items = itemsIn(events);
    expect(items).toHaveLength(10_000);
    const paths = new Set(items.map(({ path }) => String(path)));
    expect(paths).toEqual(new Set(leavesOf(snapshotOf(content.directory))));
    expect(events.findIndex(({ type }) => type === "result")).toBe(events.length - 1);
    const again = await stage.order([sourceText(content)], { flags: ["--itemize"] });
    expect(itemsIn(again.events)).toEqual([]);
  });

  test("is only known of orders that were to be itemized, and have ended", async () => {
    const { stage, content } = await mirroredStage(2);
    await using _ = stage;
    const mirror = { host: "127.0.0.1", port: stage.mirrorPort };
    const itemsOf = async (orderId: string): Promise<string> => {
      const asked = askMirror(
        mirror,
        { do: "items", orderId },
        { agent: "test/1", timeoutMs: 5_000 },
        () => {},
        new AbortController().signal,
      );
      const error = await rejectionOf(asked);
      return error === undefined ? "told" : `${error.code}: ${error.message}`;
    };
    const plain = await stage.order([sourceText(content)]);
    expect(await itemsOf(plain.result.orderId)).toMatch(/^refused: .*was not itemized/);
    expect(await itemsOf("00000000")).toMatch(/^not-found: /);
    writeFileSync(`${content.directory}/docs/slow`, "slow");
    const running = stage.startOrder([sourceText(content, ".", 2)], ["--itemize"]);
    const orderId = String((await running.event("accepted"))["orderId"]);
    expect(await itemsOf(orderId)).toMatch(/^refused: .*still running/);
    const { code, events } = await running.finished();
    expect([code, itemsIn(events).map(({ path }) => path)]).toEqual([0, ["docs/slow"]]);
    expect(await itemsOf(orderId)).toBe("told");
  });
});

function byPath(one: DrayEvent, other: DrayEvent): number {
  return String(one["path"]).localeCompare(String(other["path"]));
}

test("wishes that contradict each other are refused, all at once, before the mirror hears of them", async () => {
  const flags = ["--verify", "--checksum", "--delete", "--links", "copy", "--dry-run", "--every", "1h"];
  const { code, stderr, stdout } = await runDray(["initiate", "-p", "1", "-s", "h:1:.:0", ...flags]);
  expect([code, stdout]).toEqual([2, ""]);
  for (const where of [
    "--checksum, --verify",
    "--delete, --verify",
    "--links, --verify",
    "--dry-run, --every",
  ])
    expect(stderr).toContain(where);
});
