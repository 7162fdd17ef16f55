import * as fs from "node:fs";
import type { ContainedDirectory, ContainedRoot } from "../disk/contained-root.ts";
import { syncDescriptor } from "../disk/sync.ts";
import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { FileVersion, OwnedChange, OwnerJournal } from "./owner-journal.ts";

/** Directories whose entries have changed, and that have to be synced before anybody is told. */
export class ChangedDirectories {
  readonly #descriptors = new Map<string, number>();

  /** @param path a path that stays good only for now: the directory is opened at once */
  add(key: string, path: string): void {
    if (!this.#descriptors.has(key)) this.#descriptors.set(key, fs.openSync(path, "r"));
  }

  addAll(paths: readonly string[]): void {
    for (const path of paths) this.add(path, path);
  }

  addHeld(directory: ContainedDirectory): void {
    this.add(directory.shownPath, directory.path);
  }

  /** @throws a system error */
  async sync(): Promise<void> {
    const descriptors = [...this.#descriptors.values()];
    this.#descriptors.clear();
    try {
      await Promise.all(descriptors.map(syncDescriptor));
    } finally {
      for (const descriptor of descriptors) fs.closeSync(descriptor);
    }
  }
}

/** One change of the tree that a client asked for. Each step may throw: then it is refused, or has failed. */
export interface Change {
  /** Looks at what is there, and says what the record of owners has to know beforehand. */
  prepare(): OwnedChange | undefined;
  /** Makes the change, all at once. */
  apply(changed: ChangedDirectories): void;
  /** What may only follow when the former is durable. */
  finish?(changed: ChangedDirectories): void;
  /** What the record of owners has to know when it is durable. */
  outcome(): { there?: FileVersion; gone?: string };
}

interface Queued {
  change: Change;
  resolve: () => void;
  reject: (error: DrayError) => void;
}

/** Changes that are made durable together. */
const MAX_GROUP = 512;

/**
 * Makes changes in groups: however many clients write, a group costs one sync of the record of owners
 * and one of each directory. The order is what makes it safe to be killed at any moment: the owners of
 * what will be visible are on the disk before it is, and what was visible is forgotten only after.
 */
export class ChangeQueue {
  readonly #root: ContainedRoot;
  readonly #owners: OwnerJournal;
  readonly #unsettled: (error: DrayError) => void;
  readonly #waiting: Queued[] = [];
  #running: Promise<void> | undefined;

  /** @param unsettled told when the record of owners keeps what it could forget: harmless, and tidied up later */
  constructor(root: ContainedRoot, owners: OwnerJournal, unsettled: (error: DrayError) => void) {
    this.#root = root;
    this.#owners = owners;
    this.#unsettled = unsettled;
  }

  /** Resolves when the change is durable, rejects when nothing of it is visible (or it may not be durable). */
  make(change: Change): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ change, resolve, reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Those that come in this tick go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MAX_GROUP);
      try {
        await this.#makeGroup(group);
      } catch (error) {
        // Those that are settled already do not hear of it.
        for (const { reject } of group) reject(asDrayError(error));
      }
    }
    this.#running = undefined;
  }

  async #makeGroup(group: readonly Queued[]): Promise<void> {
    // A directory that was renamed meanwhile is not to be written to under its old name.
    this.#root.forget();
    const intents: OwnedChange[] = [];
    const prepared = group.filter((queued) =>
      attempt(queued, () => {
        const intent = queued.change.prepare();
        if (intent !== undefined) intents.push(intent);
      }),
    );
    if (intents.length > 0) {
      this.#owners.intend(intents);
      await this.#owners.sync();
    }
    const changed = new ChangedDirectories();
    const applied = prepared.filter((queued) => attempt(queued, () => queued.change.apply(changed)));
    await changed.sync();
    const finished = applied.filter((queued) => attempt(queued, () => queued.change.finish?.(changed)));
    await changed.sync();
    const outcomes = finished.map(({ change }) => change.outcome());
    for (const { resolve } of finished) resolve();
    try {
      this.#owners.settle(
        outcomes.flatMap(({ there }) => there ?? []),
        outcomes.flatMap(({ gone }) => gone ?? []),
      );
    } catch (error) {
      this.#unsettled(asDrayError(error));
    }
  }
}

/** Whether a step went well; one that did not ends its own change and no other. */
function attempt(queued: Queued, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    queued.reject(asDrayError(error));
    return false;
  }
}
