import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Stat } from "../../src/sync/ports.ts";
import { SETTLE_DEFAULTS, type Settled, Settler } from "../../src/sync/settle.ts";

function stat(sizeBytes: number, mtimeMs = 0, inode = 1): Stat {
  // Never a whole second: that would be a coarse clock.
  const atNs = BigInt(mtimeMs) * 1_000_000n + 1n;
  return { kind: "file", sizeBytes, mtimeNs: atNs, ctimeNs: atNs, inode: BigInt(inode), mode: 0o644 };
}

/** Lets time pass until the settler has decided, as a caller does. */
function run(
  settler: Settler,
  statAt: (nowMs: number) => Stat | undefined,
  fromMs = 0,
): { settled: Settled; atMs: number; looks: number } {
  let looks = 0;
  for (let nowMs = settler.nextAtMs ?? fromMs; ; nowMs = settler.nextAtMs!) {
    for (const name of settler.due(nowMs, 100)) {
      looks++;
      const settled = settler.look(name, statAt(nowMs), nowMs);
      if (settled !== undefined) return { settled, atMs: nowMs, looks };
    }
    if (nowMs > 1e9) throw new Error("never at rest");
  }
}

describe("a changed file", () => {
  test("is at rest when two looks agree", () => {
    const settler = new Settler();
    settler.hint("a", 1000);
    expect(settler.nextAtMs).toBe(1050);
    expect(settler.due(1049, 10)).toEqual([]);
    expect(run(settler, () => stat(5))).toEqual({
      settled: { state: "file", stat: stat(5) },
      atMs: 1100,
      looks: 2,
    });
    expect(settler.size).toBe(0);
    expect(settler.nextAtMs).toBeUndefined();
  });

  test("is not sent while it grows, and looked at ever less often", () => {
    const settler = new Settler();
    settler.hint("log", 0);
    const growing = (nowMs: number): Stat => {
      const writes = Math.floor(Math.min(nowMs, 10_000) / 40);
      return stat(writes, writes * 40);
    };
    const { atMs, settled, looks } = run(settler, growing);
    expect(settled).toEqual({ state: "file", stat: stat(250, 10_000) });
    expect(atMs).toBeGreaterThan(10_000);
    expect(atMs).toBeLessThan(10_000 + 2 * SETTLE_DEFAULTS.maxMs + 1);
    expect(looks).toBeLessThan(15);
  });

  test("is noticed to be another one by its inode or its time of change alone", () => {
    for (const other of [stat(5, 0, 2), { ...stat(5), ctimeNs: 7n }]) {
      const settler = new Settler();
      settler.hint("a", 0);
      expect(run(settler, (nowMs) => (nowMs < 80 ? stat(5) : other)).settled).toEqual({
        state: "file",
        stat: other,
      });
    }
  });

  test("is looked at longer when it is large, unless nobody had written to it for as long when it was put there", () => {
    const large = 2 ** 30;
    const written = stat(large, 10_000);
    const moved = { ...written, ctimeNs: written.ctimeNs + 600_000_000n };
    const justMoved = { ...written, ctimeNs: written.ctimeNs + 400_000_000n };
    const tookMs = [written, moved, justMoved].map((found) => {
      const settler = new Settler();
      settler.hint("a", 0);
      return run(settler, () => found).atMs;
    });
    expect(tookMs).toEqual([550, 100, 550]);
  });

  test("is looked at again only when a coarse clock has gone on", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    const coarse = { ...stat(5), ctimeNs: 7_000_000_000n };
    const { settled, atMs } = run(settler, () => coarse);
    expect(settled).toEqual({ state: "file", stat: coarse });
    expect(atMs).toBeGreaterThan(2_050);
  });

  test("is not put off by hints", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    for (let nowMs = 0; nowMs <= 50; nowMs += 5) settler.hint("a", nowMs);
    expect(settler.nextAtMs).toBe(50);
  });
});

describe("a file that was seen when it was found", () => {
  test("is at rest when one look later agrees", () => {
    const settler = new Settler();
    settler.hintSeen("a", stat(5), 1000);
    expect(settler.nextAtMs).toBe(1050);
    const atRest = { settled: { state: "file" as const, stat: stat(5) }, atMs: 1050, looks: 1 };
    expect(run(settler, () => stat(5))).toEqual(atRest);
  });

  test("is looked at again when that look shows another", () => {
    const settler = new Settler();
    settler.hintSeen("a", stat(5), 0);
    const { settled, looks } = run(settler, () => stat(6, 20));
    expect(settled).toEqual({ state: "file", stat: stat(6, 20) });
    expect(looks).toBe(2);
  });

  test("keeps the looks that it has had, and when the next one is due", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    settler.look("a", stat(5), 50);
    settler.hintSeen("a", stat(6, 90), 90);
    expect(settler.nextAtMs).toBe(100);
    expect(settler.look("a", stat(5), 100)).toEqual({ state: "file", stat: stat(5) });
    expect(settler.nextAtMs).toBeUndefined();
  });
});

describe("a name that is gone", () => {
  test("counts as deleted after the grace", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    const { settled, atMs } = run(settler, () => undefined);
    expect(settled).toEqual({ state: "gone" });
    expect(atMs).toBe(50 + SETTLE_DEFAULTS.deleteGraceMs);
  });

  test("is one update when it comes back within the grace", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    const { settled } = run(settler, (nowMs) => (nowMs < 400 ? undefined : stat(9, 400, 2)));
    expect(settled).toEqual({ state: "file", stat: stat(9, 400, 2) });
  });

  test("starts its grace anew when it was there in between", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    const isThere = (nowMs: number): boolean => nowMs >= 400 && nowMs < 440;
    const { settled, atMs } = run(settler, (nowMs) => (isThere(nowMs) ? stat(1, nowMs) : undefined));
    expect(settled.state).toBe("gone");
    expect(atMs).toBeGreaterThanOrEqual(440 + SETTLE_DEFAULTS.deleteGraceMs);
  });

  test("or a directory now, is no file", () => {
    const settler = new Settler();
    settler.hint("a", 0);
    expect(run(settler, () => ({ ...stat(0), kind: "directory" })).settled).toEqual({ state: "gone" });
  });
});

test("what is forgotten is not looked at", () => {
  const settler = new Settler();
  settler.hint("a", 0);
  settler.hint("b", 10);
  settler.forget("a");
  expect(settler.nextAtMs).toBe(60);
  expect(settler.due(1000, 10)).toEqual(["b"]);
  expect(settler.look("a", stat(1), 1000)).toBeUndefined();
});

test("the longest due come first, no more than wanted", () => {
  const settler = new Settler();
  for (let index = 0; index < 10; index++) settler.hint(`${index}`, index);
  expect(settler.due(1000, 3)).toEqual(["0", "1", "2"]);
});

test("what is due is what a list of all that wait would say, whatever is hinted, seen, looked at and forgotten", () => {
  const action = fc.record({
    kind: fc.constantFrom("hint", "seen", "look", "forget"),
    name: fc.constantFrom("a", "b", "c", "d", "e"),
    afterMs: fc.integer({ min: 0, max: 60 }),
    limit: fc.integer({ min: 1, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const settler = new Settler();
      const waiting = new Map<string, { dueMs: number; isSeen: boolean }>();
      let nowMs = 0;
      for (const [index, { kind, name, afterMs, limit }] of actions.entries()) {
        nowMs += afterMs;
        const dueMs = nowMs + SETTLE_DEFAULTS.firstMs;
        // Another inode each time: one that was saved anew, and is never at rest.
        const found = stat(1, nowMs, index);
        const known = waiting.get(name);
        if (kind === "forget") {
          settler.forget(name);
          waiting.delete(name);
        } else if (kind === "hint") {
          settler.hint(name, nowMs);
          if (known === undefined) waiting.set(name, { dueMs, isSeen: false });
        } else if (kind === "seen") {
          settler.hintSeen(name, found, nowMs);
          if (known?.isSeen !== true) waiting.set(name, { dueMs, isSeen: true });
        } else {
          settler.look(name, found, nowMs);
          if (known !== undefined) waiting.set(name, { dueMs, isSeen: true });
        }
        const all = [...waiting.values()].map((one) => one.dueMs).sort((a, b) => a - b);
        const due = settler.due(nowMs, limit);
        const expected = all.filter((atMs) => atMs <= nowMs).slice(0, limit);
        expect(due.map((one) => waiting.get(one)!.dueMs)).toEqual(expected);
        expect(new Set(due).size).toBe(due.length);
        expect(settler.nextAtMs).toBe(all[0]);
        expect(settler.size).toBe(waiting.size);
      }
    }),
  );
});

test("a file that is at rest was written to by nobody for firstMs, and everything comes to rest", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 900 }), isThere: fc.boolean() }), {
        maxLength: 30,
      }),
      (writes) => {
        let atMs = 0;
        const story = writes.map(({ afterMs, isThere }) => ({ atMs: (atMs += afterMs), isThere }));
        const settler = new Settler();
        settler.hint("a", 0);
        const lastWrite = (nowMs: number) => story.findLast((write) => write.atMs <= nowMs);
        const { settled, atMs: restMs } = run(settler, (nowMs) => {
          const last = lastWrite(nowMs);
          return last?.isThere === false ? undefined : stat(1, last?.atMs ?? 0);
        });
        const last = lastWrite(restMs);
        expect(settled.state).toBe(last?.isThere === false ? "gone" : "file");
        if (settled.state === "file")
          expect(restMs - (last?.atMs ?? -50)).toBeGreaterThanOrEqual(SETTLE_DEFAULTS.firstMs);
      },
    ),
  );
});
