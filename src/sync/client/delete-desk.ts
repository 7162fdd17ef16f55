import { guardRoot, type RootGuardSettings, type RootVerdict } from "../root-guard.ts";
import type { Base } from "./reconcile.ts";

export interface DeleteDeskSettings {
  readonly guard: RootGuardSettings;
  /** How long no other name may vanish before any is deleted elsewhere: with few, and with more of them. */
  readonly fewQuietMs: number;
  readonly quietMs: number;
  /** What was deleted within this time counts as one delete with what is to be deleted now. */
  readonly windowMs: number;
}

export const DELETE_DESK_DEFAULTS: Omit<DeleteDeskSettings, "guard"> = {
  fewQuietMs: 200,
  quietMs: 1_000,
  windowMs: 60_000,
};

/** What the desk has to know of the rest. */
export interface DeleteSurroundings {
  readonly root: "there" | "missing" | "replaced";
  readonly knownId: string;
  readonly foundId: string | undefined;
  /** Paths with a base. */
  readonly knownFiles: number;
  /** Whether a file of this size is on its way up, which may be this one under a new name. */
  isUploading(sizeBytes: number): boolean;
  /** How many paths hold this content as far as the server knows, those that are to be deleted included. */
  copies(md5: string): number;
}

export interface DeleteDecision {
  readonly send: string[];
  readonly verdict: RootVerdict;
}

interface Wanted {
  readonly base: Base;
  isApproved: boolean;
  /** No other path holds its content. */
  isLoss: boolean;
}

/**
 * Names that are gone here and are to be deleted on the server: when, and whether at all (decision 23), pure.
 * A file that only moved is first sent under its new name (the content never leaves the server), and is no loss.
 */
export class DeleteDesk {
  readonly #settings: DeleteDeskSettings;
  readonly #wanted = new Map<string, Wanted>();
  #newestMs = -Infinity;
  /** Losses that were sent, the oldest first: when. */
  readonly #sentAtMs: number[] = [];

  constructor(settings: DeleteDeskSettings) {
    this.#settings = settings;
  }

  get size(): number {
    return this.#wanted.size;
  }

  names(): IterableIterator<string> {
    return this.#wanted.keys();
  }

  has(name: string): boolean {
    return this.#wanted.has(name);
  }

  want(name: string, base: Base, nowMs: number): void {
    if (this.#wanted.has(name)) return;
    this.#wanted.set(name, { base, isApproved: false, isLoss: true });
    this.#newestMs = nowMs;
  }

  /** It is there again, or was dealt with. */
  drop(name: string): void {
    this.#wanted.delete(name);
  }

  /** A person says that all that is gone now is meant to be gone. @returns how many names */
  approve(): number {
    for (const wanted of this.#wanted.values()) wanted.isApproved = true;
    return this.#wanted.size;
  }

  /** What to delete on the server now; each name is given again until it is dropped. */
  decide(nowMs: number, around: DeleteSurroundings): DeleteDecision {
    const ready: string[] = [];
    let lost = 0;
    const going = this.#countContents();
    for (const [name, wanted] of this.#wanted) {
      const { md5, sizeBytes } = wanted.base;
      if (around.isUploading(sizeBytes)) continue;
      ready.push(name);
      wanted.isLoss = around.copies(md5) <= going.get(md5)!;
      if (!wanted.isApproved && wanted.isLoss) lost++;
    }
    this.#forgetSent(nowMs);
    const recent = lost > 0 ? this.#sentAtMs.length : 0;
    const verdict = guardRoot(
      { ...around, knownFiles: around.knownFiles + this.#sentAtMs.length, missingFiles: lost + recent },
      this.#settings.guard,
    );
    if (verdict.verdict === "hold") {
      const canGo = verdict.isApprovable ? ready.filter((name) => this.#wanted.get(name)!.isApproved) : [];
      return { send: canGo, verdict };
    }
    const isQuiet = nowMs >= this.#newestMs + this.#quietMs(lost);
    return { send: isQuiet ? ready : ready.filter((name) => this.#wanted.get(name)!.isApproved), verdict };
  }

  /** It was deleted on the server. */
  sent(name: string, nowMs: number): void {
    const wanted = this.#wanted.get(name);
    this.#wanted.delete(name);
    if (wanted !== undefined && !wanted.isApproved && wanted.isLoss) this.#sentAtMs.push(nowMs);
  }

  /** Whether no name has vanished for a while: what is held now is all of it. */
  isAtRest(nowMs: number): boolean {
    return nowMs >= this.#newestMs + this.#settings.quietMs;
  }

  /** When `decide` may say something new by itself. */
  nextAtMs(nowMs: number): number | undefined {
    if (this.#wanted.size === 0) return undefined;
    const quietAtMs = [this.#settings.fewQuietMs, this.#settings.quietMs].map((ms) => this.#newestMs + ms);
    return quietAtMs.find((atMs) => atMs > nowMs);
  }

  #quietMs(lost: number): number {
    return lost <= this.#settings.guard.fewFiles ? this.#settings.fewQuietMs : this.#settings.quietMs;
  }

  #countContents(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { base } of this.#wanted.values()) counts.set(base.md5, (counts.get(base.md5) ?? 0) + 1);
    return counts;
  }

  #forgetSent(nowMs: number): void {
    while (this.#sentAtMs.length > 0 && this.#sentAtMs[0]! <= nowMs - this.#settings.windowMs) {
      this.#sentAtMs.shift();
    }
  }
}
