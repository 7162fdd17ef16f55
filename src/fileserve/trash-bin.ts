import * as fs from "node:fs";
import * as path from "node:path";
import type { ContainedRoot } from "../disk/contained-root.ts";
import { STATE_DIRECTORY, Trash, sweepTrash, trashLabel } from "../disk/trash.ts";
import { isNotFound } from "../errors/dray-error.ts";

/** What is thrown away in so much time goes into one folder, and leaves with it. */
const FOLDER_MS = 3_600_000;

/** The trash of a file server: how much it holds, and what leaves it when it is old or in the way. */
export class TrashBin {
  readonly #rootPath: string;
  readonly #keptMs: number;
  /** Bytes by folder, the oldest folder first. */
  readonly #sizes = new Map<string, number>();
  #trash: { trash: Trash; label: string; sinceMs: number } | undefined;

  /** @param keptMs how long what is thrown away is kept */
  constructor(rootPath: string, keptMs: number) {
    this.#rootPath = rootPath;
    this.#keptMs = keptMs;
    for (const label of namesIn(this.#trashPath).sort()) {
      this.#sizes.set(label, bytesBelow(path.join(this.#trashPath, label)));
    }
  }

  get sizeBytes(): number {
    let total = 0;
    for (const sizeBytes of this.#sizes.values()) total += sizeBytes;
    return total;
  }

  /**
   * Takes a file that is about to be replaced or removed: its name keeps showing it until then, where there are
   * hard links.
   * @returns the folders that have changed by that
   * @throws a system error; then it is where it was
   */
  keep(root: ContainedRoot, components: readonly string[], sizeBytes: number, nowMs: number): string[] {
    return this.#take(components, sizeBytes, nowMs, (trash) => trash.keep(root, components));
  }

  #take(
    components: readonly string[],
    sizeBytes: number,
    nowMs: number,
    take: (trash: Trash) => unknown,
  ): string[] {
    const { trash, label } = this.#current(nowMs);
    take(trash);
    this.#sizes.set(label, (this.#sizes.get(label) ?? 0) + sizeBytes);
    return trash.foldersChanged(components.slice(0, -1));
  }

  /** Removes the oldest folders for good, until so many bytes are gone or nothing is left. */
  makeRoom(bytes: number): void {
    let removedBytes = 0;
    for (const [label, sizeBytes] of this.#sizes) {
      if (removedBytes >= bytes) return;
      fs.rmSync(path.join(this.#trashPath, label), { recursive: true, force: true });
      this.#sizes.delete(label);
      if (this.#trash?.label === label) this.#close();
      removedBytes += sizeBytes;
    }
  }

  /** Removes what has been kept long enough. */
  async sweep(nowMs: number): Promise<void> {
    // A folder is not to be removed while it is filled; its label counts whole seconds.
    if (this.#trash !== undefined && nowMs + 1_000 - this.#trash.sinceMs >= this.#keptMs) this.#close();
    await sweepTrash(this.#rootPath, nowMs - this.#keptMs);
    const left = new Set(namesIn(this.#trashPath));
    for (const label of this.#sizes.keys()) if (!left.has(label)) this.#sizes.delete(label);
  }

  close(): void {
    this.#close();
  }

  #current(nowMs: number): { trash: Trash; label: string } {
    if (this.#trash !== undefined && nowMs - this.#trash.sinceMs < FOLDER_MS) return this.#trash;
    this.#close();
    const label = trashLabel(nowMs, "fileserve");
    this.#trash = { trash: new Trash(this.#rootPath, label), label, sinceMs: nowMs };
    return this.#trash;
  }

  #close(): void {
    this.#trash?.trash.close();
    this.#trash = undefined;
  }

  get #trashPath(): string {
    return path.join(this.#rootPath, STATE_DIRECTORY, "trash");
  }
}

function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

function bytesBelow(directory: string): number {
  let total = 0;
  for (const entry of fs.readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) total += fs.statSync(path.join(entry.parentPath, entry.name)).size;
  }
  return total;
}
