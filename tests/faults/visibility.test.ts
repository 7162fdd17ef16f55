import { expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(120_000);

const COUNT = 12;

/** The files of one version: other contents, other sizes. */
function fill(directory: string, version: number): void {
  for (let index = 0; index < COUNT; index++) {
    const sizeBytes = 3_000_000 + version * 700_000 + index * 100_000;
    makeLargeFile(join(directory, `dir/file-${index}`), { seed: version * 100 + index, sizeBytes });
  }
}

/** Looks at what is visible under final names, and keeps what was neither version. */
class Onlooker {
  looks = 0;
  /** How often some of the files of a version were there, and others not yet. */
  between = 0;
  readonly wrong: string[] = [];
  readonly #directory: string;
  readonly #known = new Map<bigint, string>();
  #version = "";

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** From here on these contents, too, are right. */
  allow(version: string, directory: string): void {
    this.#version = version;
    for (const name of readdirSync(directory)) {
      this.#known.set(Bun.hash.xxHash3(`${name} ${hashOf(join(directory, name)).digest}`), version);
    }
  }

  look(): void {
    let newOnes = 0;
    for (const name of readdirSync(this.#directory)) {
      if (name.endsWith(".tmp")) continue;
      const { digest, size, sizeBefore } = hashOf(join(this.#directory, name));
      const version = this.#known.get(Bun.hash.xxHash3(`${name} ${digest}`));
      if (version === undefined || size !== sizeBefore) this.wrong.push(`${name} with ${size} bytes`);
      if (version === this.#version) newOnes++;
    }
    this.looks++;
    if (newOnes > 0 && newOnes < COUNT) this.between++;
  }
}

/** Of what is behind the name at this moment, and stays behind this descriptor. */
function hashOf(path: string): { digest: bigint; size: number; sizeBefore: number } {
  const descriptor = openSync(path, "r");
  try {
    const sizeBefore = fstatSync(descriptor).size;
    const bytes = readFileSync(descriptor);
    return { digest: Bun.hash.xxHash3(bytes), size: bytes.length, sizeBefore };
  } finally {
    closeSync(descriptor);
  }
}

test("whoever looks at a final name, at any moment, sees nothing but a whole file, old or new", async () => {
  await using stage = await Stage.open({ flags: ["-w", "3"] });
  const content = await stage.content("data", (directory) => fill(directory, 1));
  const tree = join(stage.treeOf(content), "dir");
  mkdirSync(tree, { recursive: true });
  const onlooker = new Onlooker(tree);
  onlooker.allow("first", join(content.directory, "dir"));
  const names = new Set<string>();
  const watcher = watch(tree, (_, name) => {
    if (name !== null) names.add(name);
    onlooker.look();
  });
  try {
    await lookDuring(onlooker, stage.order([sourceText(content)]));
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    const wasBetween = onlooker.between;

    fill(content.directory, 2);
    onlooker.allow("second", join(content.directory, "dir"));
    await lookDuring(onlooker, stage.order([sourceText(content)]));
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);

    expect(onlooker.wrong).toEqual([]);
    // It did look while there was something to see, and the system told of every name.
    expect(wasBetween).toBeGreaterThan(0);
    expect(onlooker.between).toBeGreaterThan(wasBetween);
    expect([...names].filter((name) => !name.endsWith(".tmp")).length).toBe(COUNT);
  } finally {
    watcher.close();
  }
});

/** Looks again and again until the order is done. */
async function lookDuring(onlooker: Onlooker, order: Promise<{ code: number | null }>): Promise<void> {
  const orders = new Set([order]);
  const done = order.finally(() => orders.delete(order));
  while (orders.size > 0) {
    onlooker.look();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect((await done).code).toBe(0);
}
