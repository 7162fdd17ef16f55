import type { ContainedRoot } from "../disk/contained-root.ts";
import { type Hides, walk } from "../disk/walk.ts";
import { type ListEntry, entryBytes } from "../wire/entries.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { MAX_ENTRIES_BYTES } from "../wire/messages.ts";
import { parsePath } from "../wire/names.ts";
import type { FillResult, OutBuffer, Responder } from "./responder.ts";

/** Entries of one batch: bounds how long one connection's listing keeps the others waiting. */
const BATCH_ENTRIES = 512;
/** What a batch may take in bytes: the limit of the message, less the longest entry. */
const BATCH_BYTES = MAX_ENTRIES_BYTES - 16 * 1024;

/** Lists a tree in batches, as many as the client gave credit for, and closes with the counts. */
export class ListResponder implements Responder {
  readonly #entries: Generator<ListEntry, void>;
  readonly #requestId: number;
  readonly #counts = { files: 0, directories: 0, others: 0 };
  #credit: number;
  #batch: ListEntry[] = [];
  #isAtEnd = false;

  /** @throws DrayError "name" */
  constructor(root: ContainedRoot, hides: Hides, path: string, credit: number, requestId: number) {
    this.#entries = walk(root, parsePath(path), hides);
    this.#credit = credit;
    this.#requestId = requestId;
  }

  more(credit: number): void {
    this.#credit = Math.min(this.#credit + credit, MAX_CREDIT);
  }

  waitsForClient(): boolean {
    return this.#credit === 0;
  }

  fill(out: OutBuffer): FillResult {
    if (this.#batch.length === 0) this.#gather();
    if (this.#batch.length > 0) {
      if (this.#credit === 0) return "waiting";
      const message = { type: "entries", entries: this.#batch } as const;
      if (!out.fits(message)) return "more";
      out.put(message, this.#requestId);
      this.#credit--;
      this.#batch = [];
      return "more";
    }
    if (out.freeBytes < FRAME_HEADER_BYTES + 24) return "more";
    out.put({ type: "listed", ...this.#counts }, this.#requestId);
    return "done";
  }

  release(): void {
    this.#entries.return();
  }

  #gather(): void {
    let batchBytes = 0;
    while (!this.#isAtEnd && this.#batch.length < BATCH_ENTRIES && batchBytes < BATCH_BYTES) {
      const next = this.#entries.next();
      if (next.done === true) {
        this.#isAtEnd = true;
        return;
      }
      const entry = next.value;
      this.#batch.push(entry);
      batchBytes += entryBytes(entry);
      if (entry.kind === "file") this.#counts.files++;
      else if (entry.kind === "directory") this.#counts.directories++;
      else this.#counts.others++;
    }
  }
}

const MAX_CREDIT = 1_000_000;
