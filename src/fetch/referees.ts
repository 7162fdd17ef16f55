import type { PieceRun, ReplicaId } from "./planner-events.ts";

export type RefereeAction =
  /**
   * Ask this replica for the SUMS of its whole file, on a connection of its own (answers come in order, and
   * its data should not wait); tell its digests with `digests`, then `sumsEnded` or `sumsFailed`.
   */
  | { type: "ask-sums"; replica: ReplicaId }
  /** What is still to come of its SUMS is not needed. Nothing is awaited. */
  | { type: "stop-sums"; replica: ReplicaId }
  /**
   * The digests of these pieces are known (`Referees.digestOf`). `alone`: one replica says so, and nobody else is
   * there who could confirm it.
   */
  | { type: "agreed"; pieces: PieceRun; alone: boolean }
  /** Others have agreed on other bytes there. It may be asked again all the same, to decide between others. */
  | { type: "blamed"; replica: ReplicaId; piece: number; by: readonly ReplicaId[] }
  /**
   * They say different things, and there is nobody to decide between them; sent once for a piece. What has not
   * been agreed before stays unknown, unless another replica becomes available.
   */
  | { type: "undecided"; piece: number; voters: readonly ReplicaId[] };

/** Replicas that are asked at once; more only where two of them differ. */
const MAX_ASKED = 4;
/** When replicas wait for want of agreed pieces, another one is asked after so long. */
const SLOW_MS = 1_000;
/** When only one is left who can say anything, it is believed after so long. */
const LONE_MS = 10_000;

interface Referee {
  id: ReplicaId;
  /** It was blamed: its word counts only beside that of one who was not. */
  isDiscredited: boolean;
  /** `idle`: can be asked. `failed`: its answer broke off. `out`: it has left. */
  state: "idle" | "asked" | "done" | "failed" | "out";
  /** What it says of the first `reached` pieces. */
  said: BigUint64Array<ArrayBuffer>;
  reached: number;
}

interface Votes {
  voters: readonly Referee[];
  supporters: Referee[];
  weight: number;
}

interface Agreement {
  first: number;
  end: number;
  /** One only if it is believed alone. */
  by: readonly ReplicaId[];
}

const NONE = new BigUint64Array(0);

/**
 * Who is believed when no manifest says what is in a file: what two replicas say alike. Pure.
 *
 * Replicas that have the whole file are asked for the digests of its pieces, two of them at first. A piece is agreed
 * when two say the same of it. Another one is asked when two differ, when one fails, or when they are too slow
 * for those who wait. Pieces are agreed from the first one on, and digests come in that order: so whoever agrees on a
 * piece has been measured against all pieces agreed before it, and two versions cannot be mixed. One that was blamed may have
 * nothing worse than a bad sector: where the others cannot decide, it may side with one of them.
 *
 * When only one is left (LONE_MS, and nobody else can be asked), it is believed alone: there is nobody to compare it with.
 */
export class Referees {
  readonly #agreed: BigUint64Array;
  readonly #referees = new Map<ReplicaId, Referee>();
  /** All pieces before this one are agreed. */
  #frontier = 0;
  /** Who said so: runs in order, up to the frontier. */
  readonly #agreements: Agreement[] = [];
  #lone: Referee | undefined;
  #wanted = 2;
  #undecided = -1;
  /** Since when those who wait have waited. */
  #starvingSinceMs: number | undefined;
  #actions: RefereeAction[] = [];

  /** @param pieces how many pieces the file has */
  constructor(pieces: number) {
    this.#agreed = new BigUint64Array(pieces);
  }

  get isComplete(): boolean {
    return this.#frontier === this.#agreed.length;
  }

  /** XXH3-64 of a piece; undefined as long as it is not agreed. */
  digestOf(piece: number): bigint | undefined {
    return piece < this.#frontier ? this.#agreed[piece] : undefined;
  }

  /** A replica with the whole file can be asked; also again, after `sumsFailed`. */
  available(id: ReplicaId): readonly RefereeAction[] {
    const known = this.#referees.get(id);
    if (known === undefined) {
      const state = "idle";
      this.#referees.set(id, { id, isDiscredited: false, state, said: NONE, reached: 0 });
    } else if (known.state === "failed") known.state = "idle";
    return this.#decide();
  }

  /** It is not to be asked any more, and what it said does not count where it is not agreed yet. */
  left(id: ReplicaId): readonly RefereeAction[] {
    const referee = this.#referees.get(id);
    if (referee === undefined || referee.state === "out") return [];
    this.#dismiss(referee, "out");
    return this.#decide();
  }

  /** The next digests of its answer, XXH3-64 of each piece. */
  digests(id: ReplicaId, digests: readonly bigint[]): readonly RefereeAction[] {
    const referee = this.#referees.get(id);
    if (referee?.state !== "asked") return [];
    for (const digest of digests) {
      const piece = referee.reached;
      if (piece >= referee.said.length) break;
      referee.said[piece] = digest;
      referee.reached++;
      if (piece >= this.#frontier || this.#agreed[piece] === digest || referee.isDiscredited) continue;
      this.#contradicted(referee, piece);
      break;
    }
    return this.#decide();
  }

  /** Its answer is complete; with fewer digests than there are pieces it failed. */
  sumsEnded(id: ReplicaId): readonly RefereeAction[] {
    const referee = this.#referees.get(id);
    if (referee?.state !== "asked") return [];
    if (referee.reached < this.#agreed.length) return this.sumsFailed(id);
    referee.state = "done";
    return this.#decide();
  }

  /** Its answer broke off; tell `available` when it may be asked again. */
  sumsFailed(id: ReplicaId): readonly RefereeAction[] {
    const referee = this.#referees.get(id);
    if (referee?.state !== "asked") return [];
    this.#forget(referee, "failed");
    return this.#decide();
  }

  /**
   * Time has passed: to be told about every second as long as not all is agreed.
   * @param isStarving whether replicas have nothing to do for want of agreed pieces (`Planner.isStarving`)
   */
  tick(nowMs: number, isStarving: boolean): readonly RefereeAction[] {
    if (!isStarving) this.#starvingSinceMs = undefined;
    else {
      this.#starvingSinceMs ??= nowMs;
      const starvedMs = nowMs - this.#starvingSinceMs;
      const [other] = this.#candidates(false);
      const isAlone = other === undefined && this.#heard().length === 1;
      if (isAlone && starvedMs >= SLOW_MS) this.#askDiscredited();
      if (isAlone && starvedMs >= LONE_MS) this.#lone = this.#heard()[0];
      else if (starvedMs >= SLOW_MS && other !== undefined && this.#heard().length < MAX_ASKED) {
        this.#wanted = this.#heard().length + 1;
        this.#starvingSinceMs = nowMs;
      }
    }
    return this.#decide();
  }

  /** Nobody else will ever be available: if there is only one, it is believed at once. */
  believeOnly(): readonly RefereeAction[] {
    const [only, ...more] = this.#heard();
    if (only !== undefined && more.length === 0 && this.#candidates(false).length === 0) this.#lone = only;
    return this.#decide();
  }

  #decide(): readonly RefereeAction[] {
    const first = this.#frontier;
    while (!this.isComplete && this.#agreeOnNext());
    if (this.#frontier > first) {
      this.#starvingSinceMs = undefined;
      this.#tellAgreed(first, this.#frontier);
    }
    if (this.isComplete) this.#stopAll();
    else this.#ask();
    return this.#actions.splice(0);
  }

  /** @returns whether the piece at the frontier is agreed now */
  #agreeOnNext(): boolean {
    const piece = this.#frontier;
    const votes = this.#votes(piece);
    const [most, next] = [...votes.entries()].sort(([, a], [, b]) => b.weight - a.weight);
    if (most === undefined) return false;
    const [digest, { voters, supporters, weight }] = most;
    const isContested = votes.size > 1 || this.#supporters(piece).length > supporters.length;
    if (weight === 1 && (isContested || voters[0] !== this.#lone)) return false;
    if (voters.length === 1 && next !== undefined && next[1].weight === weight) return false;
    this.#agreed[piece] = digest;
    this.#frontier++;
    const by = [...voters, ...supporters].map(({ id }) => id);
    const last = this.#agreements.at(-1);
    if (last !== undefined && by.length === last.by.length && by.every((id) => last.by.includes(id)))
      last.end++;
    else this.#agreements.push({ first: piece, end: piece + 1, by });
    if (by.length > 1) this.#lone = undefined;
    for (const others of votes.values()) {
      if (others.voters === voters) continue;
      for (const referee of others.voters) this.#blame(referee, piece, by);
    }
    return true;
  }

  /** What the trusted ones say of a piece, and which of the others say the same. */
  #votes(piece: number): Map<bigint, Votes> {
    const votes = new Map<bigint, Votes>();
    for (const referee of this.#heard()) {
      if (referee.reached <= piece) continue;
      const digest = referee.said[piece]!;
      const { voters, supporters, weight } = votes.get(digest) ?? { voters: [], supporters: [], weight: 0 };
      votes.set(digest, { voters: [...voters, referee], supporters, weight: weight + 1 });
    }
    for (const supporter of this.#supporters(piece)) {
      const same = votes.get(supporter.said[piece]!);
      if (same === undefined) continue;
      same.supporters.push(supporter);
      same.weight++;
    }
    return votes;
  }

  #tellAgreed(first: number, end: number): void {
    let index = this.#agreements.findLastIndex((run) => run.first <= first);
    for (let from = first; from < end; index++) {
      const run = this.#agreements[index]!;
      const to = Math.min(run.end, end);
      const alone = run.by.length === 1;
      this.#actions.push({ type: "agreed", pieces: { first: from, count: to - from }, alone });
      from = to;
    }
  }

  /** It says something else of a piece than what was agreed before it came there. */
  #contradicted(referee: Referee, piece: number): void {
    const { by } = this.#agreements.find(({ end }) => end > piece)!;
    if (by.length > 1) return this.#blame(referee, piece, by);
    // One word against another.
    this.#actions.push({ type: "undecided", piece, voters: [...by, referee.id] });
    this.#discredit(referee);
  }

  #blame(referee: Referee, piece: number, by: readonly ReplicaId[]): void {
    this.#discredit(referee);
    this.#actions.push({ type: "blamed", replica: referee.id, piece, by });
  }

  #discredit(referee: Referee): void {
    this.#dismiss(referee, "idle");
    referee.isDiscredited = true;
  }

  #dismiss(referee: Referee, state: "idle" | "out"): void {
    if (referee.state === "asked") this.#actions.push({ type: "stop-sums", replica: referee.id });
    this.#forget(referee, state);
  }

  #forget(referee: Referee, state: "failed" | "idle" | "out"): void {
    Object.assign(referee, { state, said: NONE, reached: 0 });
    if (this.#lone === referee) this.#lone = undefined;
  }

  #ask(): void {
    const behind = this.#heard().filter(({ reached }) => reached <= this.#frontier);
    const voters = this.#heard().filter(({ reached }) => reached > this.#frontier);
    // They differ, or it would be agreed: another one has to decide.
    if (voters.length > 1 && behind.length === 0) this.#wanted = voters.length + 1;
    for (const candidate of this.#candidates(false)) {
      if (this.#heard().length >= this.#wanted) return;
      this.#askOne(candidate);
    }
    const dissenters = this.#lone === undefined ? [] : this.#supporters(this.#frontier);
    const isStuck = this.#heard().length === voters.length && voters.length + dissenters.length > 1;
    if (!isStuck || this.#undecided === this.#frontier || this.#askDiscredited()) return;
    this.#undecided = this.#frontier;
    const ids = [...voters, ...dissenters].map(({ id }) => id);
    this.#actions.push({ type: "undecided", piece: this.#frontier, voters: ids });
  }

  #askOne(referee: Referee): void {
    Object.assign(referee, { state: "asked", said: new BigUint64Array(this.#agreed.length), reached: 0 });
    this.#actions.push({ type: "ask-sums", replica: referee.id });
  }

  /** @returns whether one of those that were blamed may still have something to say about the next piece */
  #askDiscredited(): boolean {
    for (const referee of this.#candidates(true)) this.#askOne(referee);
    return [...this.#referees.values()].some(
      ({ isDiscredited, state, reached }) => isDiscredited && state === "asked" && reached <= this.#frontier,
    );
  }

  #stopAll(): void {
    for (const { id, state } of this.#referees.values()) {
      if (state === "asked") this.#actions.push({ type: "stop-sums", replica: id });
    }
    this.#referees.clear();
  }

  /** The trusted ones who have said something, or are about to. */
  #heard(): Referee[] {
    return [...this.#referees.values()].filter((referee) => !referee.isDiscredited && isHeard(referee));
  }

  /** The others who have said something about a piece. */
  #supporters(piece: number): Referee[] {
    return [...this.#referees.values()].filter(
      (referee) => referee.isDiscredited && isHeard(referee) && referee.reached > piece,
    );
  }

  #candidates(areDiscredited: boolean): Referee[] {
    return [...this.#referees.values()].filter(
      ({ state, isDiscredited }) => state === "idle" && isDiscredited === areDiscredited,
    );
  }
}

function isHeard({ state }: Referee): boolean {
  return state === "asked" || state === "done";
}
