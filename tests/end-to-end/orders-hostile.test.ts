import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { namesBelow } from "../support/files-below.ts";
import { runDray } from "../support/process.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";

setDefaultTimeout(60_000);

const OUTSIDE = "/tmp/dray-test-was-here";

/** What the mirror makes of its own accord: its state, and the directory of a source. */
const HARMLESS = /^\.dray\/|^127\.0\.0\.1_\d+\/(docs\/)?$/;

test.each([
  ["leads out of its directory", "../evil", "."],
  ["leads out of the mirror", "../../evil", "."],
  ["is absolute", OUTSIDE, "."],
  ["is not in canonical form", "a//evil", "."],
  ["is reserved for unfinished files", ".dray-abc-1.tmp", "."],
  ["was not asked for", "other/evil", "docs"],
])("a listed name that %s is refused again by --retry-failed", async (_, name, path) => {
  const bytes = Buffer.from("evil");
  using source = new ScriptedSource({
    files: { [name]: bytes },
    list: (connection, asked) => connection.sendList(asked, [{ path: name, size: bytes.length }]),
  });
  await using stage = await Stage.open();
  const first = await stage.order([sourceText(source, path)]);
  expect(first.result.failures).toMatchObject([{ path: name, code: "name" }]);

  const args = ["initiate", "-p", String(stage.mirrorPort), "--retry-failed", first.result.orderId, "--json"];
  const again = await runDray(args);
  expect(readdirSync(stage.folder.path)).toEqual(["mirror"]);
  expect(namesBelow(stage.mirrorDirectory).filter((name) => !HARMLESS.test(name))).toEqual([]);
  expect(existsSync(OUTSIDE)).toBe(false);
  expect(source.fetches).toEqual([]);
  expect(again.events.at(-1)).toMatchObject({
    type: "result",
    failed: 1,
    failures: [{ path: name, code: "name" }],
  });
});
