import { describe, expect, test } from "bun:test";
import { Planner } from "../../src/fetch/planner.ts";
import type { PieceRun, PlannerAction, PlannerEvent } from "../../src/fetch/planner-events.ts";

const MIB = 1024 * 1024;
const SETTINGS = { stallMs: 15_000, patienceMs: 60_000, maxConnections: 4 };

/** A planner for parts of so many pieces, and its clock. */
class Desk {
  readonly planner: Planner;
  nowMs = 0;

  constructor(partPieces: readonly number[], maxConnections = SETTINGS.maxConnections) {
    let pieces = 0;
    const parts = partPieces.map((count) => ({ first: (pieces += count) - count, count }));
    const layout = { sizeBytes: pieces * MIB, pieceBytes: MIB, parts };
    this.planner = new Planner(layout, { ...SETTINGS, maxConnections }, () => 0.5, 0);
    this.tell({ type: "agreed", pieces: { first: 0, count: pieces } });
  }

  tell(event: PlannerEvent): readonly PlannerAction[] {
    return this.planner.take(event, this.nowMs);
  }

  join(replica: number, parts: "all" | readonly number[], isConnected = true): readonly PlannerAction[] {
    return this.tell({ type: "joined", replica, parts, isConnected });
  }

  /** Lets a piece come. */
  piece(request: number, piece: number, tookMs: number): readonly PlannerAction[] {
    this.nowMs += tookMs;
    this.tell({ type: "received", request, bytes: MIB });
    return this.tell({ type: "verified", request, piece });
  }

  ticks(afterMs: number): readonly PlannerAction[] {
    this.nowMs += afterMs;
    return this.tell({ type: "tick" });
  }
}

function request(id: number, replica: number, pieces: PieceRun, isHedge = false): PlannerAction {
  return { type: "request", request: id, replica, pieces, isHedge };
}

function givenUp(actions: readonly PlannerAction[]): Extract<PlannerAction, { type: "given-up" }>["failure"] {
  const last = actions.at(-1);
  if (last?.type !== "given-up") throw new Error(`no given-up in ${JSON.stringify(actions)}`);
  return last.failure;
}

describe("the planner", () => {
  test("an idle replica repeats what a silent one is at; what is not needed any more is cancelled", () => {
    const desk = new Desk([2, 2]);
    expect(desk.join(0, [0])).toEqual([
      request(1, 0, { first: 0, count: 1 }),
      request(2, 0, { first: 1, count: 1 }),
    ]);
    desk.join(1, [1]);
    expect(desk.join(2, [0])).toEqual([]);
    expect(desk.ticks(600)).toEqual([request(5, 2, { first: 0, count: 1 }, true)]);
    expect(desk.planner.wants(1, 0)).toBe(true);
    expect(desk.piece(5, 0, 10)).toEqual([{ type: "cancel", request: 1 }]);
    expect(desk.planner.wants(1, 0)).toBe(false);
    // What stands behind what is being answered is cancelled when its turn has come.
    expect(desk.tell({ type: "ended", request: 5 })).toEqual([request(6, 2, { first: 1, count: 1 }, true)]);
    expect(desk.piece(6, 1, 10)).toEqual([]);
    expect(desk.tell({ type: "ended", request: 1 })).toContainEqual({ type: "cancel", request: 2 });
  });

  test("nobody repeats what it does not have", () => {
    const desk = new Desk([1, 1]);
    desk.join(0, [0, 1]);
    expect(desk.join(1, [1])).toEqual([]);
    expect(desk.ticks(600)).toEqual([request(3, 1, { first: 1, count: 1 }, true)]);
    desk.tell({ type: "failed", request: 3, fault: { kind: "absent" } });
    expect(desk.ticks(1_000)).toEqual([]);
  });

  test("rare parts first", () => {
    const desk = new Desk([1, 1, 1], 8);
    for (const replica of [1, 2, 3]) desk.join(replica, [0, 1], false);
    expect(desk.join(0, "all")).toEqual([
      request(1, 0, { first: 2, count: 1 }),
      request(2, 0, { first: 0, count: 1 }),
    ]);
  });

  test("a replica that is silent for too long loses its connection, and gets another one later", () => {
    const desk = new Desk([1]);
    desk.join(0, "all");
    expect(desk.planner.wakeAtMs).toBe(2_000);
    expect(desk.ticks(14_999)).toEqual([]);
    expect(desk.planner.wakeAtMs).toBe(15_000);
    expect(desk.ticks(1)).toEqual([{ type: "disconnect", replica: 0, why: "stalled" }]);
    desk.tell({ type: "lost", replica: 0, retryAfterMs: 700, isDamage: false });
    expect(desk.ticks(699)).toEqual([]);
    expect(desk.ticks(1)).toEqual([{ type: "connect", replica: 0 }]);
    expect(desk.tell({ type: "connected", replica: 0 })).toEqual([request(2, 0, { first: 0, count: 1 })]);
  });

  test("no more connections than allowed; one that has nothing to do makes room", () => {
    const desk = new Desk([4, 4], 1);
    expect(desk.join(0, [0], false)).toEqual([{ type: "connect", replica: 0 }]);
    expect(desk.join(1, [1], false)).toEqual([]);
    desk.tell({ type: "present", pieces: { first: 0, count: 4 } });
    expect(desk.tell({ type: "connected", replica: 0 })).toEqual([
      { type: "disconnect", replica: 0, why: "idle" },
    ]);
    expect(desk.tell({ type: "lost", replica: 0, retryAfterMs: 0, isDamage: false })).toEqual([
      { type: "connect", replica: 1 },
    ]);
  });

  test("three broken answers in a row are enough, with a good piece between them they are not", () => {
    const desk = new Desk([20]);
    desk.join(0, "all");
    const breaks = (): readonly PlannerAction[] => {
      const actions = desk.tell({ type: "lost", replica: 0, retryAfterMs: 0, isDamage: true });
      desk.ticks(11_000);
      desk.tell({ type: "connected", replica: 0 });
      return actions;
    };
    expect([...breaks(), ...breaks()]).toEqual([]);
    desk.piece(5, 0, 1);
    expect([...breaks(), ...breaks()]).toEqual([]);
    expect(breaks()[0]).toEqual({
      type: "quarantine",
      replica: 0,
      reason: { kind: "strikes", strikes: 3 },
    });
  });

  test("one that was caught is used again, a piece at a time, when nobody else has what is missing", () => {
    const desk = new Desk([1, 2]);
    desk.join(0, [0, 1]);
    desk.join(1, [0]);
    desk.tell({ type: "joining-closed" });
    expect(desk.tell({ type: "wrong", request: 1, piece: 0 })).toEqual([
      { type: "quarantine", replica: 0, reason: { kind: "wrong-piece", piece: 0 } },
      { type: "connect", replica: 0 },
      request(3, 1, { first: 0, count: 1 }),
    ]);
    expect(desk.tell({ type: "connected", replica: 0 })).toEqual([
      request(4, 0, { first: 1, count: 1 }),
      request(5, 0, { first: 2, count: 1 }),
    ]);
  });

  test("nothing to do: finished at once", () => {
    const desk = new Desk([2]);
    expect(desk.tell({ type: "present", pieces: { first: 0, count: 2 } })).toEqual([{ type: "finished" }]);
    expect(desk.planner.wakeAtMs).toBeUndefined();
  });
});

describe("why it gives up", () => {
  test("unreachable: those that have it do not come back", () => {
    const desk = new Desk([1, 1]);
    desk.join(0, [0]);
    desk.join(1, [1], false);
    desk.tell({ type: "joining-closed" });
    desk.piece(1, 0, 10);
    desk.tell({ type: "ended", request: 1 });
    desk.tell({ type: "lost", replica: 1, retryAfterMs: 100_000, isDamage: false });
    expect(desk.ticks(59_999)).toEqual([]);
    expect(givenUp(desk.ticks(1))).toEqual({
      parts: [1],
      missingBytes: MIB,
      why: "unreachable",
      awaited: [1],
    });
  });

  test("absent: nobody has it, and it is not waited for", () => {
    const desk = new Desk([1]);
    desk.join(0, "all");
    desk.tell({ type: "joining-closed" });
    const failure = givenUp(desk.tell({ type: "failed", request: 1, fault: { kind: "absent" } }));
    expect(failure).toEqual({ parts: [0], missingBytes: MIB, why: "absent", awaited: [] });
  });

  test("wrong: the only one that has it lies", () => {
    const desk = new Desk([1]);
    desk.join(0, "all");
    desk.tell({ type: "joining-closed" });
    const actions = desk.tell({ type: "wrong", request: 1, piece: 0 });
    expect(actions[0]).toEqual({
      type: "quarantine",
      replica: 0,
      reason: { kind: "wrong-piece", piece: 0 },
    });
    expect(givenUp(actions).why).toBe("wrong");
  });

  test("disputed: they are there, and what they have is not agreed", () => {
    const layout = { sizeBytes: MIB, pieceBytes: MIB, parts: [{ first: 0, count: 1 }] };
    const planner = new Planner(layout, SETTINGS, () => 0.5, 0);
    planner.take({ type: "joined", replica: 0, parts: "all", isConnected: true }, 0);
    planner.take({ type: "joining-closed" }, 0);
    expect(planner.isStarving).toBe(true);
    expect(givenUp(planner.take({ type: "tick" }, 60_000))).toMatchObject({ why: "disputed", awaited: [0] });
  });
});
