import { asDrayError } from "../../errors/dray-error.ts";
import type { TreePath } from "../ports.ts";
import type { Core } from "./core.ts";
import { hashFile } from "./local-hash.ts";
import type { PathEntry } from "./path-book.ts";
import { isStamped } from "./reconcile.ts";

/** Files that are hashed at the same time. */
const MAX_RUNNING = 8;
/** Until one that could not be read is tried again. */
const RETRY_MS = 30_000;

/** Digests of files here that decide what is to be done. */
export class HashQueue {
  readonly #core: Core;
  readonly #waiting = new Map<PathEntry, TreePath>();
  readonly #running = new Set<PathEntry>();

  constructor(core: Core) {
    this.#core = core;
  }

  get size(): number {
    return this.#waiting.size + this.#running.size;
  }

  /** Has `entry.local.md5` filled in, and the entry considered then. */
  want(entry: PathEntry, path: TreePath): void {
    if (this.#running.has(entry)) return;
    this.#waiting.set(entry, path);
    this.#pump();
  }

  #pump(): void {
    for (const [entry, path] of this.#waiting) {
      if (this.#running.size >= MAX_RUNNING) return;
      this.#waiting.delete(entry);
      this.#running.add(entry);
      void this.#hash(entry, path);
    }
  }

  async #hash(entry: PathEntry, path: TreePath): Promise<void> {
    let isKnown = false;
    try {
      const hashed = await hashFile(this.#core.ports, this.#core.syncs, path);
      const { local } = entry;
      isKnown = hashed !== undefined && local.kind === "file" && isStamped(local, hashed);
      if (isKnown && hashed !== undefined) entry.local = { kind: "file", ...hashed };
      else this.#core.hint(entry.name);
    } catch (error) {
      const known = asDrayError(error);
      if (known.code === "not-found" || known.code === "changed") {
        this.#core.hint(entry.name);
      } else {
        entry.problem = `it cannot be read: ${known.message}`;
        this.#core.tell({ type: "refused", name: entry.name, message: entry.problem });
        this.#core.considerAt(entry, this.#core.ports.clock.monotonicMs() + RETRY_MS);
      }
    }
    this.#running.delete(entry);
    if (isKnown) this.#core.consider(entry);
    this.#pump();
  }
}
