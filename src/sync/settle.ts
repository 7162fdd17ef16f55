import TinyQueue from "tinyqueue";
import type { Stat } from "./ports.ts";
import { isUntouched } from "./stat-comparison.ts";

export interface SettleSettings {
  /** From a change to the first look, and between the first two looks. */
  readonly firstMs: number;
  /** Between looks at a file that goes on changing, at most; the pauses double up to this. */
  readonly maxMs: number;
  /** How long a name has to be gone until that counts as a delete. */
  readonly deleteGraceMs: number;
}

export const SETTLE_DEFAULTS: SettleSettings = { firstMs: 50, maxMs: 2_000, deleteGraceMs: 500 };

/** Some file systems (FAT, HFS+, some network ones) give times in whole seconds, or two. */
const COARSE_CLOCK_NS = 1_000_000_000n;
const COARSE_CLOCK_MS = 2_100;

/** What a name has come to rest as. */
export type Settled =
  | { readonly state: "file"; readonly stat: Stat }
  /** It is gone, or is no regular file. */
  | { readonly state: "gone" };

interface Unsettled {
  readonly name: string;
  /** The next one. */
  planned: Look | undefined;
  pauseMs: number;
  /** What the last look showed; undefined: none yet. */
  last: { readonly stat: Stat | undefined } | undefined;
  /** Since when the looks show that it is gone. */
  goneSinceMs: number | undefined;
}

/** A look that is planned; void when its name is forgotten, or another one is planned. */
interface Look {
  readonly atMs: number;
  readonly of: Unsettled;
}

/**
 * Which changed names have come to rest (decision 24), pure: two looks in a row have to agree, with at least firstMs between
 * them, so that a write in between moves the times; where those go in whole seconds, the looks are that far apart. While a file goes on changing, the looks become
 * rarer. A name that is gone has to be so for the whole grace: many programs save by deleting first.
 */
export class Settler {
  readonly #settings: SettleSettings;
  readonly #unsettled = new Map<string, Unsettled>();
  readonly #looks = new TinyQueue<Look>([], (a, b) => a.atMs - b.atMs);

  constructor(settings: SettleSettings = SETTLE_DEFAULTS) {
    this.#settings = settings;
  }

  /** Something may have changed. A name that is waiting already is not put off: its looks will show it. */
  hint(name: string, nowMs: number): void {
    if (this.#unsettled.has(name)) return;
    const { firstMs } = this.#settings;
    const unsettled: Unsettled = {
      name,
      planned: undefined,
      pauseMs: firstMs,
      last: undefined,
      goneSinceMs: undefined,
    };
    this.#unsettled.set(name, unsettled);
    this.#plan(unsettled, nowMs + firstMs);
  }

  /** The same, where this is how it looks now: that counts as the first look. */
  hintSeen(name: string, stat: Stat, nowMs: number): void {
    this.hint(name, nowMs);
    const isFirst = this.#unsettled.get(name)!.last === undefined;
    if (isFirst) this.look(name, stat, nowMs);
  }

  /** Forgets a name: somebody else has dealt with it. */
  forget(name: string): void {
    this.#unsettled.delete(name);
  }

  /** Whether a name is not known to be at rest. */
  has(name: string): boolean {
    return this.#unsettled.has(name);
  }

  /** How many names are not at rest. */
  get size(): number {
    return this.#unsettled.size;
  }

  /** When the next look is due, in the milliseconds of the calls; undefined when nothing is waiting. */
  get nextAtMs(): number | undefined {
    for (let next = this.#looks.peek(); next !== undefined; next = this.#looks.peek()) {
      if (this.#isPlanned(next)) return next.atMs;
      this.#looks.pop();
    }
    return undefined;
  }

  /** Names to look at now, the longest due first, at most `limit`: each is to be answered with look() or forget(). */
  due(nowMs: number, limit: number): string[] {
    const due: Look[] = [];
    while (due.length < limit && (this.nextAtMs ?? Infinity) <= nowMs) due.push(this.#looks.pop()!);
    // They are due until they are answered.
    for (const look of due) this.#looks.push(look);
    return due.map(({ of }) => of.name);
  }

  /** Tells what a look at a due name showed. @returns that it is at rest, and so forgotten; undefined: it is not yet */
  look(name: string, stat: Stat | undefined, nowMs: number): Settled | undefined {
    const unsettled = this.#unsettled.get(name);
    if (unsettled === undefined) return undefined;
    const isGone = stat?.kind !== "file";
    if (!isGone) unsettled.goneSinceMs = undefined;
    const settled = isGone ? this.#gone(unsettled, nowMs) : this.#there(unsettled, stat, nowMs);
    unsettled.last = { stat };
    if (settled !== undefined) this.#unsettled.delete(name);
    return settled;
  }

  #plan(unsettled: Unsettled, atMs: number): void {
    unsettled.planned = { atMs, of: unsettled };
    this.#looks.push(unsettled.planned);
  }

  #isPlanned(look: Look): boolean {
    return look.of.planned === look && this.#unsettled.get(look.of.name) === look.of;
  }

  #gone(unsettled: Unsettled, nowMs: number): Settled | undefined {
    unsettled.goneSinceMs ??= nowMs;
    const overMs = unsettled.goneSinceMs + this.#settings.deleteGraceMs;
    if (nowMs >= overMs) return { state: "gone" };
    this.#plan(unsettled, Math.min(overMs, nowMs + this.#settings.firstMs));
    return undefined;
  }

  #there(unsettled: Unsettled, stat: Stat, nowMs: number): Settled | undefined {
    const { firstMs, maxMs } = this.#settings;
    const { last } = unsettled;
    if (last?.stat !== undefined) {
      if (isUntouched(last.stat, stat)) return { state: "file", stat };
      // One that was saved anew is not one that grows for hours: only that is looked at less often.
      unsettled.pauseMs = last.stat.inode === stat.inode ? Math.min(2 * unsettled.pauseMs, maxMs) : firstMs;
    }
    const clockMs = stat.ctimeNs % COARSE_CLOCK_NS === 0n ? COARSE_CLOCK_MS : 0;
    this.#plan(unsettled, nowMs + Math.max(unsettled.pauseMs, writingPauseMs(stat), clockMs));
    return undefined;
  }
}

/**
 * What writes a large file may be held up between two writes: its looks are further apart. Unless nobody had written to it for
 * as long when it was renamed, or given its times: files that are moved here, and copies that keep their dates.
 */
function writingPauseMs({ sizeBytes, mtimeNs, ctimeNs }: Stat): number {
  const pauseMs = Math.min(500, sizeBytes / (128 * 1024));
  const restedMs = Number((ctimeNs - mtimeNs) / 1_000_000n);
  return restedMs >= pauseMs ? 0 : pauseMs;
}
