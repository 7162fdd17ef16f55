import { expect, test } from "bun:test";
import fc from "fast-check";
import { twinKey } from "../../src/sync/names.ts";
import { Roster } from "../../src/sync/server/roster.ts";
import { runs } from "./runs.ts";

const LEASE_MS = 100;
const NAMES = ["a", "A/x", "b"] as const;
const SESSIONS = 2;

const step = fc.oneof(
  fc.record({
    do: fc.constant("lock" as const),
    name: fc.constantFrom(...NAMES),
    session: fc.nat(SESSIONS - 1),
  }),
  fc.record({
    do: fc.constant("unlock" as const),
    name: fc.constantFrom(...NAMES),
    session: fc.nat(SESSIONS - 1),
  }),
  fc.record({
    do: fc.constant("progress" as const),
    name: fc.constantFrom(...NAMES),
    session: fc.nat(SESSIONS - 1),
  }),
  fc.record({ do: fc.constant("commit" as const), name: fc.constantFrom(...NAMES) }),
  fc.record({ do: fc.constant("bury" as const), name: fc.constantFrom(...NAMES) }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(80) }),
);

interface Held {
  session: number;
  progressMs: number;
  holds: number;
}

/** The rules, written down the slow way. */
class Model {
  readonly locks = new Map<string, Held>();
  readonly files = new Map<string, number>();
  readonly gone = new Map<string, number>();

  hasTwin(name: string): boolean {
    const taken = [...this.files.keys(), ...this.locks.keys()];
    const prefixes = prefixesOf(name);
    return taken.some((other) =>
      prefixesOf(other).some((theirs) =>
        prefixes.some((ours) => ours !== theirs && twinKey(ours) === twinKey(theirs)),
      ),
    );
  }
}

function prefixesOf(name: string): string[] {
  const components = name.split("/");
  return components.map((_, index) => components.slice(0, index + 1).join("/"));
}

test("a roster does what its rules say: one holder a file, leases, twins, numbers that only grow", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const roster = new Roster({ leaseMs: LEASE_MS, maxNames: 1_000 });
      const model = new Model();
      let nowMs = 0;
      let sequence = 0;
      for (const next of steps) {
        if (next.do === "wait") nowMs += next.ms;
        else if (next.do === "lock") {
          const held = model.locks.get(next.name);
          const answer = roster.lock(next.name, next.session, nowMs);
          if (held?.session === next.session) {
            expect(answer).toEqual({ granted: true, evicted: undefined });
            held.holds++;
            held.progressMs = nowMs;
          } else if (held !== undefined) {
            const isOver = nowMs - held.progressMs >= LEASE_MS;
            expect(answer.granted).toBe(isOver);
            if (isOver) {
              expect(answer).toEqual({ granted: true, evicted: held.session });
              model.locks.set(next.name, { session: next.session, progressMs: nowMs, holds: 1 });
            }
          } else {
            expect(answer.granted).toBe(!model.hasTwin(next.name));
            if (answer.granted)
              model.locks.set(next.name, { session: next.session, progressMs: nowMs, holds: 1 });
          }
        } else if (next.do === "unlock") {
          const held = model.locks.get(next.name);
          const frees = held?.session === next.session && held.holds === 1;
          expect(roster.unlock(next.name, next.session)).toBe(frees);
          if (frees) model.locks.delete(next.name);
          else if (held?.session === next.session) held.holds--;
        } else if (next.do === "progress") {
          roster.progress(next.name, next.session, nowMs);
          const held = model.locks.get(next.name);
          if (held?.session === next.session) held.progressMs = nowMs;
        } else if (next.do === "commit") {
          // As in a hub: only who has the lock commits.
          if (!model.locks.has(next.name)) continue;
          const entry = roster.commit(next.name, { sizeBytes: 1, mtimeNs: 1n, inode: 1n, md5: "" });
          expect(entry.sequence).toBe(++sequence);
          model.files.set(next.name, sequence);
          model.gone.delete(next.name);
        } else {
          if (!model.locks.has(next.name) || !model.files.has(next.name)) continue;
          expect(roster.bury(next.name, "", nowMs).sequence).toBe(++sequence);
          model.files.delete(next.name);
          model.gone.set(next.name, sequence);
        }
        expect(roster.sequence).toBe(sequence);
        expect(roster.fileCount).toBe(model.files.size);
        const holders = [...roster.locks()].map(([name, lock]) => [name, lock.session] as const);
        expect(new Map(holders)).toEqual(
          new Map([...model.locks].map(([name, lock]) => [name, lock.session])),
        );
        for (const name of NAMES) {
          expect(roster.get(name)?.sequence).toBe(model.files.get(name) ?? model.gone.get(name));
          expect(roster.file(name) !== undefined).toBe(model.files.has(name));
        }
      }
    }),
    runs(300),
  );
});

test("names are bounded, those that are only locked included", () => {
  const roster = new Roster({ leaseMs: LEASE_MS, maxNames: 3 });
  for (const name of ["a", "b", "c"]) expect(roster.lock(name, 1, 0).granted).toBe(true);
  expect(roster.lock("d", 1, 0)).toMatchObject({ granted: false });
  roster.unlock("b", 1);
  expect(roster.lock("d", 1, 0).granted).toBe(true);
  // What is there may always be written anew.
  roster.commit("a", { sizeBytes: 1, mtimeNs: 1n, inode: 1n, md5: "" });
  roster.unlock("a", 1);
  expect(roster.lock("a", 2, 0).granted).toBe(true);
});
