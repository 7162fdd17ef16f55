import type { PieceBoard } from "./piece-board.ts";
import type { PlannedReplica } from "./planned-replica.ts";

/** Parts that the same replicas have: there is no reason to prefer one of them, but to go on in order. */
interface PartGroup {
  /** In order. */
  parts: number[];
  /** Besides those that have all parts. */
  holders: PlannedReplica[];
}

/** So many replicas that can send a part are enough to call it not rare. */
const NOT_RARE = 3;

/** Who has which parts, and which part a replica is best asked for. Pure. */
export class PartHolders {
  readonly #board: PieceBoard;
  readonly #replicas: PlannedReplica[] = [];
  /** Those that have every part. */
  #everywhere: PlannedReplica[] = [];
  #groups: PartGroup[] = [];
  #groupsOf = new Map<PlannedReplica, PartGroup[]>();
  #isStale = true;

  constructor(board: PieceBoard) {
    this.#board = board;
  }

  join(replica: PlannedReplica): void {
    this.#replicas.push(replica);
    this.#isStale = true;
  }

  /** One of them is out, or lacks a part that it was believed to have. */
  changed(): void {
    this.#isStale = true;
  }

  /** Parts of which something is missing that no trusted replica has. */
  orphans(): number[] {
    this.#refresh();
    if (this.#everywhere.length > 0) return [];
    const orphaned = this.#groups.filter(({ holders }) => holders.every(({ isRecalled }) => isRecalled));
    return orphaned.flatMap(({ parts }) => parts).filter((part) => this.#board.missingOf(part) > 0);
  }

  holdsMissing(replica: PlannedReplica): boolean {
    return this.#of(replica).some(({ parts }) => parts.some((part) => this.#board.missingOf(part) > 0));
  }

  /**
   * The part that a replica is best asked for: the rarest, then the one whose holders have the most to do.
   * `freePieces` of it and of what goes with it are there for `sharers`.
   */
  bestPart(
    replica: PlannedReplica,
    nowMs: number,
  ): { part: number; freePieces: number; sharers: number } | undefined {
    let best:
      { group: PartGroup; freePieces: number; sharers: number; rarity: number; work: number } | undefined;
    for (const group of this.#of(replica)) {
      const freePieces = this.#free(group);
      if (freePieces === 0) continue;
      const ready = this.#ready(group, nowMs);
      const rarity = Math.min(ready.length, NOT_RARE);
      const work = freePieces / (ready.reduce((sum, { pace }) => sum + pace.bytesPerMs, 0) || 1);
      if (best === undefined || rarity < best.rarity || (rarity === best.rarity && work > best.work))
        best = { group, freePieces, sharers: ready.length, rarity, work };
    }
    if (best === undefined) return undefined;
    const part = best.group.parts.find((part) => this.#board.freeOf(part) > 0)!;
    return { part, freePieces: best.freePieces, sharers: best.sharers };
  }

  /** Of those that are not connected, the one that there is the most need of, if there is any. */
  mostNeeded(candidates: readonly PlannedReplica[], nowMs: number): PlannedReplica | undefined {
    if (candidates.length === 0) return undefined;
    this.#refresh();
    const due = new Set(candidates);
    let best: { replica: PlannedReplica; ready: number } | undefined;
    for (const group of this.#groups) {
      const demand = this.#demand(group);
      if (demand === 0) continue;
      const ready = this.#ready(group, nowMs).length;
      if (ready >= demand || (best !== undefined && ready >= best.ready)) continue;
      const replica = [...group.holders, ...this.#everywhere].find((holder) => due.has(holder));
      if (replica !== undefined) best = { replica, ready };
      if (best?.ready === 0) break;
    }
    return best?.replica;
  }

  /** How many replicas could send something of these parts; when all that is missing is under way, one. */
  #demand(group: PartGroup): number {
    const free = this.#free(group);
    if (free > 0) return free;
    return group.parts.some((part) => this.#board.missingOf(part) > 0) ? 1 : 0;
  }

  #free({ parts }: PartGroup): number {
    return parts.reduce((sum, part) => sum + this.#board.freeOf(part), 0);
  }

  #ready({ holders }: PartGroup, nowMs: number): PlannedReplica[] {
    return [...this.#everywhere, ...holders].filter((replica) => replica.isReady(nowMs));
  }

  #of(replica: PlannedReplica): readonly PartGroup[] {
    this.#refresh();
    return this.#groupsOf.get(replica) ?? [];
  }

  #refresh(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    const present = this.#replicas.filter((replica) => !replica.isOut);
    this.#everywhere = present.filter((replica) => replica.holdsAll);
    const holdersOf = Array.from({ length: this.#board.partCount }, (): PlannedReplica[] => []);
    for (const replica of present) {
      if (replica.holdsAll) continue;
      for (const part of replica.partsOf(this.#board.partCount)) holdersOf[part]!.push(replica);
    }
    const groups = new Map<string, PartGroup>();
    for (const [part, holders] of holdersOf.entries()) {
      const key = holders.map(({ id }) => id).join();
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { parts: [part], holders });
      else group.parts.push(part);
    }
    this.#groups = [...groups.values()];
    this.#groupsOf = new Map(this.#everywhere.map((replica) => [replica, this.#groups]));
    for (const group of this.#groups) {
      for (const holder of group.holders) {
        const known = this.#groupsOf.get(holder);
        if (known === undefined) this.#groupsOf.set(holder, [group]);
        else known.push(group);
      }
    }
  }
}
