import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import type { PieceLayout } from "../../src/fetch/planner-events.ts";
import { type Behaviour, HONEST, type Outcome, ReplicaNetwork, type Scenario } from "./replica-network.ts";
import { runs } from "./runs.ts";

setDefaultTimeout(60_000);

const MIB = 1024 * 1024;
const FOR_EVER = Number.POSITIVE_INFINITY;
const SETTINGS = { stallMs: 15_000, patienceMs: 60_000, maxConnections: 6 };
/** Nothing of these sizes takes longer, whoever does what. */
const LIMIT_MS = 24 * 3_600_000;

const layout: fc.Arbitrary<PieceLayout> = fc
  .record({
    partPieces: fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 6 }),
    pieceBytes: fc.constantFrom(256 * 1024, MIB),
    lastPieceBytes: fc.integer({ min: 1, max: 256 * 1024 }),
  })
  .map(({ partPieces, pieceBytes, lastPieceBytes }) => {
    let pieces = 0;
    const parts = partPieces.map((count) => ({ first: (pieces += count) - count, count }));
    return { sizeBytes: (pieces - 1) * pieceBytes + lastPieceBytes, pieceBytes, parts };
  });

const moment = fc.integer({ min: 0, max: 40_000 });
/** From a moment on, for a while or for ever. */
const spans = fc.array(
  fc
    .tuple(moment, fc.oneof(fc.integer({ min: 1, max: 30_000 }), fc.constant(FOR_EVER)))
    .map(([from, lasts]) => [from, from + lasts] as const),
  { maxLength: 3 },
);
const rate = fc.constantFrom(50, 500, 5_000, 50_000, 500_000);
const chance = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.constantFrom(0.02, 0.3, 1));

/** Anything that a replica may be. */
function anyReplica(partCount: number): fc.Arbitrary<Behaviour> {
  const parts = fc.oneof(fc.constant("all" as const), fc.subarray([...Array(partCount).keys()]));
  return fc.record({
    parts,
    joinsAtMs: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, moment),
    isConnected: fc.boolean(),
    latencyMs: fc.constantFrom(0, 1, 30, 300),
    bytesPerMs: rate,
    stalls: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, spans),
    deaths: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, spans),
    lies: chance,
    rotten: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      fc.uniqueArray(fc.nat(40), { maxLength: 10 }),
    ),
    damage: chance,
    faults: chance,
    absent: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.subarray([...Array(partCount).keys()])),
    leavesAtMs: fc.oneof({ weight: 5, arbitrary: fc.constant(FOR_EVER) }, moment),
  });
}

/** It stays, sends and does not lie; it may be slow, late, lose its connection for a while, be busy at times. */
function goodReplica(parts: "all" | readonly number[]): fc.Arbitrary<Behaviour> {
  return fc
    .record({
      joinsAtMs: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, moment),
      isConnected: fc.boolean(),
      latencyMs: fc.constantFrom(0, 1, 30, 300),
      bytesPerMs: rate,
      deaths: fc.array(
        fc
          .tuple(moment, fc.integer({ min: 1, max: 9_000 }))
          .map(([from, lasts]) => [from, from + lasts] as const),
        { maxLength: 2 },
      ),
      faults: fc.constantFrom(0, 0.1),
    })
    .map((given) => ({ ...HONEST, ...given, parts }));
}

function scenario(replicas: (partCount: number) => fc.Arbitrary<Behaviour[]>): fc.Arbitrary<Scenario> {
  return layout.chain((layout) => {
    const pieces = Math.ceil(layout.sizeBytes / layout.pieceBytes);
    const piece = fc.nat(pieces - 1);
    return fc.record({
      layout: fc.constant(layout),
      settings: fc.constant(SETTINGS),
      replicas: replicas(layout.parts.length),
      present: fc.oneof(fc.constant([]), fc.uniqueArray(piece, { maxLength: pieces })),
      agreedEveryMs: fc.constantFrom(0, 0, 1, 200),
      spoilt: fc.option(fc.record({ piece, afterVerified: piece }), { nil: undefined }),
      seed: fc.nat(),
    });
  });
}

function run(scenario: Scenario): Outcome {
  return new ReplicaNetwork(scenario).run(LIMIT_MS);
}

const whatever = scenario((partCount) => fc.array(anyReplica(partCount), { maxLength: 8 }));

/** Each part has one that is good, among any others. */
const survivable = scenario((partCount) =>
  fc
    .tuple(
      fc.array(anyReplica(partCount), { maxLength: 6 }),
      fc.oneof(
        goodReplica("all").map((one) => [one]),
        fc.tuple(...[...Array(partCount).keys()].map((part) => goodReplica([part]))),
      ),
    )
    .map(([others, good]) => [...others, ...good]),
);

describe("the planner of a fetch from many replicas", () => {
  test("ends, and keeps its promises on the way, whatever the replicas do", () => {
    fc.assert(
      fc.property(whatever, (scenario) => void run(scenario)),
      runs(400),
    );
  });

  test("brings everything when each part has one replica that stays, sends and does not lie", () => {
    fc.assert(
      fc.property(survivable, (scenario) => {
        expect(run(scenario).last.type).toBe("finished");
      }),
      runs(400),
    );
  });

  test("brings everything when each piece has one good copy, and all copies have some rot", () => {
    const rotten = fc.array(fc.uniqueArray(fc.nat(40), { maxLength: 12 }), { minLength: 3, maxLength: 3 });
    const others = scenario(() => fc.constant([]));
    fc.assert(
      fc.property(others, rotten, fc.constantFrom(50, 50_000), (others, [a, b, c], bytesPerMs) => {
        const isLost = (piece: number): boolean => a!.includes(piece) && b!.includes(piece);
        const copies = [a!, b!, c!.filter((piece) => !isLost(piece))];
        const replicas = copies.map((rotten) => ({ ...HONEST, bytesPerMs, rotten }));
        expect(run({ ...others, replicas }).last.type).toBe("finished");
      }),
      runs(300),
    );
  });

  test("does the same again for the same events, times and random numbers", () => {
    fc.assert(
      fc.property(whatever, (scenario) => {
        expect(run(scenario).log).toEqual(run(scenario).log);
      }),
      runs(60),
    );
  });
});

/** A file without parts. */
function plain(sizeBytes: number, replicas: readonly Behaviour[]): Scenario {
  const pieceBytes = MIB;
  const parts = [{ first: 0, count: Math.ceil(sizeBytes / pieceBytes) }];
  return {
    layout: { sizeBytes, pieceBytes, parts },
    settings: SETTINGS,
    replicas,
    present: [],
    agreedEveryMs: 0,
    spoilt: undefined,
    seed: 1,
  };
}

describe("how well it does", () => {
  const SIZE = 2048 * MIB;
  const fast = { ...HONEST, bytesPerMs: 250_000 };
  const threeMs = run(plain(SIZE, [fast, fast, fast])).endedAtMs;

  test("replicas of one pace share the work evenly, and next to nothing comes twice", () => {
    const outcome = run(plain(SIZE, [fast, fast, fast, fast]));
    expect(outcome.endedAtMs).toBeLessThan((SIZE / 1_000_000) * 1.05);
    expect(outcome.wastedBytes).toBeLessThan(SIZE * 0.005);
    for (const pieces of outcome.verifiedPieces) expect(pieces).toBeGreaterThan(2048 / 4 / 1.1);
  });

  test("a slow replica does what it can, and holds nobody up", () => {
    const slow = { ...HONEST, bytesPerMs: 1_000 };
    const outcome = run(plain(SIZE, [fast, slow, fast, fast]));
    expect(outcome.endedAtMs).toBeLessThan(threeMs * 1.05);
    expect(outcome.verifiedPieces[1]).toBeGreaterThan(0);
    expect(outcome.wastedBytes).toBeLessThan(SIZE * 0.01);
  });

  test.each([
    ["stalls", { ...fast, stalls: [[500, FOR_EVER]] as const }],
    ["stalls from the start", { ...fast, stalls: [[0, FOR_EVER]] as const }],
    ["dies", { ...fast, deaths: [[500, FOR_EVER]] as const }],
    ["lies", { ...fast, lies: 0.01 }],
    ["flips bits on the way", { ...fast, damage: 0.3 }],
  ])("without one of four that %s it would not be much faster", (_, bad) => {
    const outcome = run(plain(SIZE, [fast, bad, fast, fast]));
    expect(outcome.last.type).toBe("finished");
    expect(outcome.endedAtMs).toBeLessThan(threeMs * 1.2);
  });

  test.each([
    ["stalls", [500], FOR_EVER],
    ["stalls from the start", [0], FOR_EVER],
    ["stalls now and then", [500, 900, 1_300, 1_700], 300],
  ])("one that %s leaves no gap behind for long", (_, moments, lastsMs) => {
    const stalls = moments.map((atMs) => [atMs, atMs + lastsMs] as const);
    const outcome = run(plain(SIZE, [fast, { ...fast, stalls }, fast, fast]));
    // What comes in half a second, or before a first word could be expected; else it would be nearly all.
    expect(outcome.heldBackBytes).toBeLessThan(moments[0] === 0 ? SIZE * 0.6 : SIZE * 0.25);
    expect(outcome.wastedBytes).toBeLessThan(SIZE * 0.04);
    expect(outcome.endedAtMs).toBeLessThan(threeMs * 1.05);
  });

  test.each([
    [100, 10_000, 256],
    [300, 50_000, 2048],
    [100, 1_000, 64],
  ])("round trips of %i ms at %i bytes a ms are hidden", (latencyMs, bytesPerMs, mebibytes) => {
    const far = { ...HONEST, latencyMs, bytesPerMs };
    const outcome = run(plain(mebibytes * MIB, [far, far, far, far]));
    // Some are needed to find out how fast it is, and some in the end.
    const leastMs = (mebibytes * MIB) / (4 * bytesPerMs);
    expect(outcome.endedAtMs).toBeLessThan(leastMs * 1.1 + 12 * latencyMs);
    expect(outcome.wastedBytes).toBeLessThan(mebibytes * MIB * 0.02);
  });

  test("one that recovers is used again", () => {
    const back = { ...fast, bytesPerMs: 10_000, deaths: [[1_000, 5_000]] as const };
    const steady = { ...fast, bytesPerMs: 10_000 };
    const outcome = run(plain(SIZE, [steady, back]));
    expect(outcome.verifiedPieces[1]).toBeGreaterThan(2048 * 0.4);
  });
});
