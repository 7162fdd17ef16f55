import * as fs from "node:fs";
import { join } from "node:path";
import { type RunningServer, startContent } from "../content-server.ts";
import { runDray } from "../process.ts";
import { seededRandom } from "../random.ts";
import type { TempFolder } from "../temp.ts";
import { type Recording, record } from "./recording.ts";

/** A file of a source, as a mirror is to have it. */
export interface SourceFile {
  bytes: Uint8Array;
  mtimeUs: number;
  mode: number;
}

/** One state of a source: what its owner has put there. */
export interface SourceTree {
  files: ReadonlyMap<string, SourceFile>;
  directories: readonly string[];
  links: ReadonlyMap<string, string>;
}

const EPOCH_US = 1_500_000_000_000_000;

/** Three pieces, so that it grows in steps. */
const LARGE_BYTES = 600_123;

function tree(version: number, sizes: Record<string, number>, executables: readonly string[]): SourceTree {
  const files = new Map<string, SourceFile>();
  for (const [index, [path, sizeBytes]] of Object.entries(sizes).entries()) {
    const bytes = new Uint8Array(sizeBytes);
    const changes = path.startsWith("changed") ? version : 1;
    seededRandom(index * 1000 + changes).fill(bytes);
    const mode = executables.includes(path) ? 0o755 : 0o644;
    files.set(path, { bytes, mtimeUs: EPOCH_US + index * 1_000_001 + changes * 60_000_000, mode });
  }
  return { files, directories: ["a", "a/b", "empty"], links: new Map([["a/link", "small"]]) };
}

/** What is ordered first… */
const FIRST = tree(
  1,
  {
    large: LARGE_BYTES,
    changed: 4_000,
    "changed-large": 300_000,
    "a/small": 700,
    "a/b/deep": 9_000,
    "a/tool": 300,
    nothing: 0,
    gone: 2_000,
    "a/gone-too": 100,
  },
  ["a/tool"],
);
/** …and then: two files have changed, without growing, two are gone, one is new. */
const SECOND = tree(
  2,
  {
    large: LARGE_BYTES,
    changed: 4_000,
    "changed-large": 300_000,
    "a/small": 700,
    "a/b/deep": 9_000,
    "a/tool": 300,
    nothing: 0,
    "a/b/new": 1_500,
  },
  ["a/tool"],
);
export const SOURCE_TREES = [FIRST, SECOND] as const;

/** A content server whose files can be exchanged, and a disk for a mirror. */
export class MirrorStage implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly #content: RunningServer;

  private constructor(folder: TempFolder, content: RunningServer) {
    this.folder = folder;
    this.#content = content;
  }

  static async open(folder: TempFolder): Promise<MirrorStage> {
    fs.mkdirSync(folder.join("source"), { recursive: true });
    return new MirrorStage(folder, await startContent(folder.join("source")));
  }

  get sourceDirectory(): string {
    return this.folder.join("source");
  }

  /** Where the source's files are to be, from the root of the mirror's disk. */
  get mirrored(): string {
    return `m/127.0.0.1_${this.#content.port}`;
  }

  /** Has the source hold one of SOURCE_TREES. */
  show(number: number): void {
    const { files, directories, links } = SOURCE_TREES[number]!;
    for (const name of fs.readdirSync(this.sourceDirectory))
      fs.rmSync(join(this.sourceDirectory, name), { recursive: true });
    for (const path of directories) fs.mkdirSync(join(this.sourceDirectory, path));
    for (const [path, target] of links) fs.symlinkSync(target, join(this.sourceDirectory, path));
    for (const [path, { bytes, mtimeUs, mode }] of files) {
      const at = join(this.sourceDirectory, path);
      fs.writeFileSync(at, bytes, { mode });
      fs.utimesSync(at, String(mtimeUs / 1e6), String(mtimeUs / 1e6));
    }
  }

  /** @param number of the tree that the source shows: the second order also deletes */
  orderFlags(number: number): string[] {
    const source = `127.0.0.1:${this.#content.port}:.:0`;
    return ["-s", source, "--links", "copy", "--json", ...(number === 0 ? [] : ["--delete"])];
  }

  mirrorFlags(directory: string, durability: string): string[] {
    const flags = ["mirror", "-p", "0", "-m", directory, "-w", "4", "--threads", "2", "--json"];
    return [...flags, "--durability", durability];
  }

  /**
   * A mirror from its start to an orderly end, with one order for each tree that its source shows.
   * @param root of its disk, where an earlier one may have left something
   */
  async record(root: string, durability: string, trees: readonly number[]): Promise<Recording> {
    return record(
      root,
      this.mirrorFlags(join(root, "m"), durability),
      async (mirror) => {
        this.show(trees[0]!);
        const { port } = await mirror.listening();
        for (const number of trees) {
          this.show(number);
          const { code, stderr } = await runDray([
            "initiate",
            "-p",
            String(port),
            ...this.orderFlags(number),
          ]);
          if (code !== 0) throw new Error(`order ${number}: ${code} ${stderr}`);
        }
        await mirror.stop();
      },
      (bytes) => (bytes.includes('"type":"result"') ? "result" : undefined),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#content[Symbol.asyncDispose]();
  }
}
