import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { type RefereeAction, Referees } from "../../src/fetch/referees.ts";
import { seededRandom } from "../support/random.ts";
import { runs } from "./runs.ts";

setDefaultTimeout(60_000);

/** What a replica's file holds, piece by piece: 0 is the truth, any other number a lie of its own. */
interface Voter {
  /** How it differs from the truth, at which pieces. */
  lies: readonly number[];
  /** Digests that it sends between two of anybody else, about. */
  pace: number;
  /** Its answer breaks off after so many digests, this often. */
  breaksAfter: number;
  breaks: number;
  joinsAtStep: number;
}

interface Game {
  pieces: number;
  voters: readonly Voter[];
  seed: number;
}

const HONEST: Voter = { lies: [], pace: 1, breaksAfter: 1, breaks: 0, joinsAtStep: 0 };

class Table {
  readonly referees: Referees;
  readonly agreed: boolean[];
  readonly alone = new Set<number>();
  readonly blamed = new Set<number>();
  readonly undecided: { piece: number; voters: readonly number[] }[] = [];
  mostAsked = 0;
  asks = 0;
  readonly #game: Game;
  readonly #asked = new Map<number, number>();
  readonly #breaks: number[];
  #nowMs = 0;

  constructor(game: Game) {
    this.#game = game;
    this.referees = new Referees(game.pieces);
    this.agreed = Array.from({ length: game.pieces }, () => false);
    this.#breaks = game.voters.map(({ breaks }) => breaks);
  }

  /** Until nothing moves any more. */
  play(): void {
    const { voters, seed } = this.#game;
    const random = seededRandom(seed);
    let lastJoin = 0;
    for (const { joinsAtStep } of voters) lastJoin = Math.max(lastJoin, joinsAtStep);
    for (let step = 0, idle = 0; idle < 40; step++, idle++) {
      for (const [id, { joinsAtStep }] of voters.entries())
        if (joinsAtStep === step) this.#take(this.referees.available(id));
      const before = this.#progress();
      for (const id of [...this.#asked.keys()]) {
        const { pace } = voters[id]!;
        if (!this.#asked.has(id)) continue;
        if (random.next() * 4 < pace) this.#speak(id, random.integer(1, pace));
      }
      const moved = this.#progress() > before;
      this.#nowMs += 500;
      this.#take(this.referees.tick(this.#nowMs, !moved));
      if (moved || step < lastJoin) idle = 0;
    }
  }

  #progress(): number {
    const said = [...this.#asked.values()].reduce((sum, count) => sum + count, 0);
    return said + this.asks + this.agreed.filter(Boolean).length;
  }

  #speak(id: number, count: number): void {
    const { lies, breaksAfter } = this.#game.voters[id]!;
    const reached = this.#asked.get(id)!;
    const end = Math.min(reached + count, this.#game.pieces);
    const digests = Array.from({ length: end - reached }, (_, index) =>
      lies.includes(reached + index) ? BigInt(1000 + id) : BigInt(reached + index),
    );
    this.#asked.set(id, end);
    this.#take(this.referees.digests(id, digests));
    if (!this.#asked.has(id)) return;
    if (end >= breaksAfter && this.#breaks[id]! > 0) {
      this.#breaks[id]!--;
      this.#asked.delete(id);
      this.#take(this.referees.sumsFailed(id));
      this.#take(this.referees.available(id));
    } else if (end === this.#game.pieces) {
      this.#asked.delete(id);
      this.#take(this.referees.sumsEnded(id));
    }
  }

  #take(actions: readonly RefereeAction[]): void {
    for (const action of actions) {
      if (action.type === "ask-sums") {
        expect(this.#asked.has(action.replica)).toBe(false);
        this.#asked.set(action.replica, 0);
        this.asks++;
      } else if (action.type === "stop-sums") expect(this.#asked.delete(action.replica)).toBe(true);
      else if (action.type === "blamed") {
        expect(action.by.length).toBeGreaterThan(1);
        expect(action.by).not.toContain(action.replica);
        this.blamed.add(action.replica);
      } else if (action.type === "undecided") this.undecided.push(action);
      else {
        const { first, count } = action.pieces;
        for (let piece = first; piece < first + count; piece++) {
          // In order, each once.
          expect(this.agreed[piece]).toBe(false);
          expect(piece === 0 || this.agreed[piece - 1]).toBe(true);
          this.agreed[piece] = true;
          if (action.alone) this.alone.add(piece);
        }
      }
    }
    this.mostAsked = Math.max(this.mostAsked, this.#asked.size);
    for (const [piece, isAgreed] of this.agreed.entries())
      expect(this.referees.digestOf(piece) !== undefined).toBe(isAgreed);
  }
}

const PIECES = 24;

function voter(lies: fc.Arbitrary<number[]>): fc.Arbitrary<Voter> {
  return fc.record({
    lies,
    pace: fc.constantFrom(1, 2, 8),
    breaksAfter: fc.integer({ min: 1, max: PIECES }),
    breaks: fc.constantFrom(0, 0, 0, 1, 2),
    joinsAtStep: fc.constantFrom(0, 0, 3, 20),
  });
}

const liar = voter(fc.uniqueArray(fc.nat(PIECES - 1), { minLength: 1, maxLength: 5 }));
const honest = voter(fc.constant([]));

function game(honestCount: { min: number; max: number }, liars: number): fc.Arbitrary<Game> {
  return fc
    .record({
      honest: fc.array(honest, { minLength: honestCount.min, maxLength: honestCount.max }),
      liars: fc.array(liar, { maxLength: liars }),
      order: fc.nat(),
      seed: fc.nat(),
    })
    .map(({ honest, liars, order, seed }) => {
      const voters = [...honest, ...liars];
      const random = seededRandom(order);
      for (let index = voters.length - 1; index > 0; index--) {
        const other = random.integer(0, index);
        [voters[index], voters[other]] = [voters[other]!, voters[index]!];
      }
      return { pieces: PIECES, voters, seed };
    });
}

function play(game: Game): Table {
  const table = new Table(game);
  table.play();
  return table;
}

describe("what replicas say of a file without a manifest", () => {
  test("two honest ones are enough, however many lie, each in its own way: all is agreed, as it is", () => {
    fc.assert(
      fc.property(game({ min: 2, max: 4 }, 4), (game) => {
        const table = play(game);
        expect(table.agreed).not.toContain(false);
        for (let piece = 0; piece < PIECES; piece++)
          if (!table.alone.has(piece)) expect(table.referees.digestOf(piece)).toBe(BigInt(piece));
      }),
      runs(300),
    );
  });

  test("only liars are blamed", () => {
    fc.assert(
      fc.property(game({ min: 0, max: 4 }, 5), (game) => {
        for (const id of play(game).blamed) expect(game.voters[id]!.lies).not.toBeEmpty();
      }),
      runs(400),
    );
  });

  test("a whole one and others with some rot, no two at one place: all is agreed, as it is", () => {
    const place = fc.integer({ min: -1, max: 2 });
    const rot = fc.array(place, { minLength: PIECES, maxLength: PIECES });
    fc.assert(
      fc.property(rot, fc.nat(3), fc.nat(), (rot, wholeAt, seed) => {
        const rotten = [0, 1, 2].map((id): Voter => ({
          ...HONEST,
          lies: [...rot.keys()].filter((piece) => rot[piece] === id),
        }));
        const table = play({ pieces: PIECES, voters: rotten.toSpliced(wholeAt, 0, HONEST), seed });
        expect(table.agreed).not.toContain(false);
        for (let piece = 0; piece < PIECES; piece++)
          expect(table.referees.digestOf(piece)).toBe(BigInt(piece));
      }),
      runs(200),
    );
  });

  test("what was agreed by two is the truth, or nobody honest was there", () => {
    fc.assert(
      fc.property(game({ min: 1, max: 3 }, 4), (game) => {
        const table = play(game);
        for (let piece = 0; piece < PIECES; piece++) {
          if (!table.agreed[piece] || table.alone.has(piece)) continue;
          expect(table.referees.digestOf(piece)).toBe(BigInt(piece));
        }
      }),
      runs(400),
    );
  });

  test("nobody who agrees is disturbed: two are asked, once each", () => {
    const brisk = { ...HONEST, pace: 8 };
    const table = play({ pieces: PIECES, voters: [brisk, brisk, brisk, brisk], seed: 1 });
    expect(table.asks).toBe(2);
    expect(table.mostAsked).toBe(2);
  });

  test("two versions with the same beginning are not mixed: those who come second are out", () => {
    const referees = new Referees(PIECES);
    const say = (id: number, from: number, to: number): readonly RefereeAction[] =>
      referees.digests(
        id,
        Array.from({ length: to - from }, (_, index) =>
          id > 1 && from + index >= 10 ? BigInt(500 + from + index) : BigInt(from + index),
        ),
      );
    for (const id of [0, 2, 1, 3]) referees.available(id);
    say(0, 0, 10);
    say(2, 0, 12);
    // Up to there they are the same; then a third one is asked, and sides with the first.
    const third = say(0, 10, 12);
    expect(third).toContainEqual({ type: "ask-sums", replica: 1 });
    expect(say(1, 0, 12)).toContainEqual({ type: "blamed", replica: 2, piece: 10, by: [0, 1] });
  });

  test("one that comes late, and contradicts what two have agreed on, is out", () => {
    const referees = new Referees(3);
    for (const id of [0, 1]) referees.available(id);
    referees.digests(0, [5n, 6n]);
    referees.digests(1, [5n, 6n]);
    referees.sumsFailed(0);
    expect(referees.available(2)).toEqual([{ type: "ask-sums", replica: 2 }]);
    expect(referees.digests(2, [5n, 7n, 8n])).toEqual([
      { type: "stop-sums", replica: 2 },
      { type: "blamed", replica: 2, piece: 1, by: [0, 1] },
    ]);
  });

  test("one that comes late, and contradicts what one alone has said: one word against another", () => {
    const referees = new Referees(3);
    referees.available(0);
    referees.digests(0, [5n, 6n]);
    referees.tick(0, true);
    referees.tick(10_000, true);
    expect(referees.available(1)).toEqual([{ type: "ask-sums", replica: 1 }]);
    expect(referees.digests(1, [5n, 7n])).toContainEqual({ type: "undecided", piece: 1, voters: [0, 1] });
  });

  test("two that have another version each do not make a third one", () => {
    const referees = new Referees(3);
    for (const id of [0, 1, 2, 3]) referees.available(id);
    referees.digests(0, [5n, 6n]);
    referees.digests(1, [5n, 6n]);
    referees.left(1);
    // Of the other version; then the last one of the first version stands against them.
    expect(referees.digests(2, [9n])).toContainEqual({ type: "blamed", replica: 2, piece: 0, by: [0, 1] });
    expect(referees.digests(3, [9n])).toContainEqual({ type: "blamed", replica: 3, piece: 0, by: [0, 1] });
    referees.digests(0, [7n]);
    for (const nowMs of [0, 1_000, 10_000]) referees.tick(nowMs, true);
    const last = [...referees.digests(2, [9n, 6n, 8n]), ...referees.digests(3, [9n, 6n, 8n])];
    expect(last.some(({ type }) => type === "agreed")).toBe(false);
  });

  test("two who differ, and nobody else: undecided, once, and both are named", () => {
    const table = play({ pieces: PIECES, voters: [HONEST, { ...HONEST, lies: [7] }], seed: 1 });
    expect(table.undecided).toEqual([{ type: "undecided", piece: 7, voters: [0, 1] } as never]);
    expect(table.agreed.indexOf(false)).toBe(7);
    expect(table.blamed.size).toBe(0);
  });

  test("one that is left alone is believed, after a while", () => {
    const referees = new Referees(2);
    referees.available(0);
    referees.digests(0, [5n, 6n]);
    expect(referees.tick(0, true)).toEqual([]);
    expect(referees.tick(9_999, true)).toEqual([]);
    expect(referees.tick(10_000, true)).toEqual([
      { type: "agreed", pieces: { first: 0, count: 2 }, alone: true },
      { type: "stop-sums", replica: 0 },
    ]);
  });

  test("a slow one is not waited for when a third one can be asked", () => {
    const referees = new Referees(2);
    for (const id of [0, 1, 2]) referees.available(id);
    referees.digests(0, [5n, 6n]);
    referees.tick(0, true);
    expect(referees.tick(1_000, true)).toEqual([{ type: "ask-sums", replica: 2 }]);
    expect(referees.digests(2, [5n])).toContainEqual({
      type: "agreed",
      pieces: { first: 0, count: 1 },
      alone: false,
    });
  });
});
