import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import type { Failure, SourceResult } from "../../src/wire/order.ts";
import { diffTrees } from "./diff.ts";
import { namesBelow } from "./files-below.ts";
import { type Script, ScriptedSource } from "./scripted-source.ts";
import { type GivenOrder, sourceText, Stage } from "./stage.ts";
import { makeManyFiles } from "./tree.ts";

export interface HostileOptions {
  /** What the order asks the hostile source for; everything if not given. */
  path?: string;
  flags?: string[];
}

/** What became of a hostile source whose order also had a good one. */
export interface Hurt {
  given: GivenOrder;
  /** The hostile source's part of the result. */
  status: SourceResult["status"];
  source: SourceResult;
  failures: Failure[];
  /** All that is visible of it: files and directories below its place in the mirror. */
  names: string[];
  /** Kept for a later order: the beginnings of large files. */
  parts: string[];
  /** The bytes of one of its files. */
  read: (name: string) => Promise<Buffer>;
}

const GOOD_FILES = 30;

/**
 * Orders everything from a hostile source and from a good one beside it, and checks what must hold
 * whatever the hostile one does: all of the good one arrives, nothing is written anywhere else, and the
 * mirror takes the next order.
 */
export async function orderBeside(
  script: Script,
  check: (hurt: Hurt, source: ScriptedSource) => unknown,
  { path = ".", flags = [] }: HostileOptions = {},
): Promise<void> {
  using source = new ScriptedSource(script);
  await using stage = await Stage.open({ flags: ["-w", "4", ...flags] });
  const good = await stage.content("good", (directory) => {
    makeManyFiles(directory, { seed: 1, count: GOOD_FILES, directories: 3, minBytes: 0, maxBytes: 300_000 });
  });

  const given = await stage.order([sourceText(source, path), sourceText(good)], {
    flags: ["--patience", "1s"],
  });
  const [hostile, other] = given.result.sources;
  expect(other).toMatchObject({ port: good.port, status: "complete", files: GOOD_FILES });
  expect(await diffTrees(good.directory, stage.treeOf(good))).toEqual([]);
  const places = readdirSync(stage.mirrorDirectory).filter((name) => name !== `127.0.0.1_${source.port}`);
  expect(places.sort()).toEqual([".dray", `127.0.0.1_${good.port}`]);
  expect(readdirSync(stage.folder.path).sort()).toEqual(["good", "mirror"]);
  const names = readdirSync(stage.mirrorDirectory).includes(`127.0.0.1_${source.port}`)
    ? namesBelow(stage.treeOf(source))
    : [];
  const isPart = (name: string): boolean => /(?:^|\/)\.dray-part[0-9a-z]+-0\.tmp$/.test(name);
  expect(names.filter((name) => name.endsWith(".tmp") && !isPart(name))).toEqual([]);

  const hurt: Hurt = {
    given,
    status: hostile!.status,
    source: hostile!,
    failures: given.result.failures.filter(({ port }) => port === source.port),
    names: names.filter((name) => !isPart(name)),
    parts: names.filter(isPart),
    read: async (name) => Buffer.from(await Bun.file(`${stage.treeOf(source)}/${name}`).arrayBuffer()),
  };
  await check(hurt, source);

  const next = await stage.order([sourceText(good)]);
  expect(next.code).toBe(0);
  expect(next.result).toMatchObject({ files: GOOD_FILES, unchanged: GOOD_FILES });
}
