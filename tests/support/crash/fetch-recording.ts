import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { runDray } from "../process.ts";
import { seededRandom } from "../random.ts";
import { StagedReplicas } from "../replicas.ts";
import type { TempFolder } from "../temp.ts";
import { type Recording, record } from "./recording.ts";

/** Six pieces, and so slow that the journal is marked on the way, which it is every five seconds. */
const SIZE_BYTES = 1_400_123;
const OLDER_BYTES = 400_000;
const BYTES_PER_SECOND = 190_000;
const NAME = "file";
/** Whole milliseconds: copies keep no more. */
const MTIME_US = 1_500_000_000_123_000;

/** How a fetch is given. */
export type FetchKind = "one server" | "two servers";

/** Servers of one file, slow while something is recorded, and disks on which an older file stands in its place. */
export class FetchStage implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly kind: FetchKind;
  readonly wanted: Uint8Array;
  readonly older: Uint8Array;
  readonly #replicas: StagedReplicas;
  readonly #pace: { isSlow: boolean };

  private constructor(
    folder: TempFolder,
    kind: FetchKind,
    files: { wanted: Uint8Array; older: Uint8Array },
    replicas: StagedReplicas,
    pace: { isSlow: boolean },
  ) {
    this.folder = folder;
    this.kind = kind;
    this.wanted = files.wanted;
    this.older = files.older;
    this.#replicas = replicas;
    this.#pace = pace;
  }

  static async open(folder: TempFolder, kind: FetchKind): Promise<FetchStage> {
    const wanted = new Uint8Array(SIZE_BYTES);
    seededRandom(1).fill(wanted);
    const older = wanted.slice(0, OLDER_BYTES);
    older.fill(7, OLDER_BYTES - 100_000);
    const own = folder.join(kind);
    fs.mkdirSync(own, { recursive: true });
    const original = join(own, "original");
    fs.writeFileSync(original, wanted);
    fs.utimesSync(original, String(MTIME_US / 1e6), String(MTIME_US / 1e6));
    const pace = { isSlow: false };
    const count = kind === "one server" ? 1 : 2;
    const slow = [{ kind: "throttle" as const, bytesPerSecond: BYTES_PER_SECOND / count }];
    const faults = Array.from({ length: count }, () => () => (pace.isSlow ? slow : []));
    const replicas = await StagedReplicas.start(join(own, "replicas"), original, NAME, faults);
    return new FetchStage(folder, kind, { wanted, older }, replicas, pace);
  }

  /** As a journal has it. */
  get version(): { origin: string; path: string; sizeBytes: number; mtimeUs: number } {
    return { origin: this.#replicas.name(0), path: NAME, sizeBytes: SIZE_BYTES, mtimeUs: MTIME_US };
  }

  /** From a disk's root. */
  get savedAs(): string {
    return `saved/${NAME}`;
  }

  /** The whole fetch, slowly. */
  async record(): Promise<Recording> {
    const root = this.folder.join(this.kind, "disk");
    const standing = join(root, this.savedAs);
    fs.mkdirSync(dirname(standing), { recursive: true });
    fs.writeFileSync(standing, this.older);
    this.#pace.isSlow = true;
    try {
      return await record(
        root,
        this.#args(root),
        async (fetch) => {
          const { code, stderr } = await fetch.finished({ timeoutMs: 60_000 });
          if (code !== 0) throw new Error(`fetch: ${code} ${stderr}`);
        },
        (bytes) => (bytes.includes('"type":"result"') ? "result" : undefined),
      );
    } finally {
      this.#pace.isSlow = false;
    }
  }

  /** The same command once more, on another disk. */
  async again(root: string): Promise<{ code: number | null; stderr: string }> {
    return runDray(this.#args(root));
  }

  #args(root: string): string[] {
    const [host, port] = this.#replicas.name(0).split(":") as [string, string];
    const from = this.kind === "one server" ? [host, port] : ["--from", this.#replicas.list];
    return ["fetch", ...from, NAME, dirname(join(root, this.savedAs)), "--json"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#replicas[Symbol.asyncDispose]();
  }
}
