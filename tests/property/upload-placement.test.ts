import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Copy, Placement, preferredServers } from "../../src/upload/placement.ts";
import { seededRandom } from "../support/random.ts";
import { runs } from "./runs.ts";

const ROOT = "7".repeat(64);
const PARTS = 2000;

function named(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `10.0.0.${index}:5041`);
}

function placed(servers: readonly string[], copies: number): string[][] {
  return Array.from({ length: PARTS }, (_, part) =>
    preferredServers(ROOT, part, servers)
      .slice(0, copies)
      .map((index) => servers[index]!),
  );
}

describe("rendezvous hashing", () => {
  test("gives each of fifty servers about the same", () => {
    const servers = named(50);
    const counts = new Map(servers.map((server) => [server, 0]));
    for (const holders of placed(servers, 5))
      for (const server of holders) counts.set(server, counts.get(server)! + 1);
    // 200 expected of each; the standard deviation of such a share is 13.4.
    for (const count of counts.values()) expect(Math.abs(count - 200)).toBeLessThan(60);
  });

  test("a server more takes its share and nothing else moves", () => {
    const [before, after] = [placed(named(20), 3), placed([...named(20), "new.example:1"], 3)];
    let moved = 0;
    for (const [part, holders] of before.entries()) {
      const gained = after[part]!.filter((server) => !holders.includes(server));
      expect(gained.every((server) => server === "new.example:1")).toBe(true);
      moved += gained.length;
    }
    // A share of 3/21 of 2,000 parts is 286.
    expect(moved).toBeGreaterThan(220);
    expect(moved).toBeLessThan(350);
  });

  test("a server less leaves only its own copies to others", () => {
    const servers = named(20);
    const [before, after] = [placed(servers, 3), placed(servers.slice(1), 3)];
    for (const [part, holders] of before.entries()) {
      const kept = holders.filter((server) => server !== servers[0]);
      expect(after[part]!.slice(0, kept.length)).toEqual(kept);
    }
  });

  test("does not depend on the order in which servers are named", () => {
    const turned = named(20).reverse();
    expect(placed(turned, 4)).toEqual(placed(named(20), 4));
  });
});

/** A world in which servers die and refuse as chance has it, until nothing is missing any more. */
function place(
  servers: number,
  copies: number,
  parts: number,
  seed: number,
): { placement: Placement; truth: Copy[]; dead: Set<number>; refusing: Set<string> } {
  const random = seededRandom(seed);
  const placement = new Placement({ root: ROOT, parts, servers: named(servers), copies });
  const truth: Copy[] = [];
  const dead = new Set<number>();
  const refusing = new Set<string>();
  for (let round = 0; ; round++) {
    const missing = placement.missing();
    if (missing.length === 0) return { placement, truth, dead, refusing };
    expect(round).toBeLessThan(servers * parts + servers + 2);
    for (const copy of missing) {
      expect(truth).not.toContainEqual(copy);
      if (dead.has(copy.server)) continue;
      const fate = random.next();
      if (fate < 0.05) {
        dead.add(copy.server);
        placement.lost(copy.server);
      } else if (fate < 0.1) {
        refusing.add(`${copy.part}/${copy.server}`);
        placement.refused(copy);
      } else if (fate < 0.7) {
        truth.push(copy);
        placement.landed(copy);
      }
    }
  }
}

describe("a placement", () => {
  test("ends with every copy that could be made, on the most wanted servers", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 0, max: 20 }),
        fc.nat(),
        (servers, copies, parts, seed) => {
          const { placement, truth, dead, refusing } = place(servers, copies, parts, seed);
          for (let part = 0; part < parts; part++) {
            const able = preferredServers(ROOT, part, named(servers)).filter(
              (server) => !dead.has(server) && !refusing.has(`${part}/${server}`),
            );
            expect(placement.wanted(part)).toEqual(able.slice(0, copies));
            expect(placement.living(part).slice(0, copies)).toEqual(able.slice(0, copies));
            const held = truth.filter((copy) => copy.part === part).map(({ server }) => server);
            expect([...placement.holders(part)].sort((a, b) => a - b)).toEqual(held.sort((a, b) => a - b));
            const short = placement.short().find((one) => one.part === part);
            expect(short?.copies).toBe(
              placement.living(part).length < copies ? placement.living(part).length : undefined,
            );
          }
        },
      ),
      runs(300),
    );
  });

  test("never calls a copy too much that somebody needs", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(),
        (servers, copies, seed) => {
          const random = seededRandom(seed);
          const placement = new Placement({ root: ROOT, parts: 8, servers: named(servers), copies });
          const truth: Copy[] = [];
          for (let part = 0; part < 8; part++) {
            for (let server = 0; server < servers; server++) {
              if (random.next() < 0.6) truth.push({ part, server });
            }
          }
          for (const copy of truth) placement.landed(copy);
          for (let server = 0; server < servers; server++) if (random.next() < 0.2) placement.lost(server);
          for (const { part, server } of placement.surplus()) {
            expect(truth).toContainEqual({ part, server });
            const others = placement.living(part).filter((holder) => holder !== server);
            expect(others.length).toBeGreaterThanOrEqual(copies);
            expect(placement.wanted(part)).not.toContain(server);
          }
        },
      ),
      runs(300),
    );
  });

  test("what vanished is missing again", () => {
    const placement = new Placement({ root: ROOT, parts: 1, servers: named(2), copies: 2 });
    for (const copy of placement.missing()) placement.landed(copy);
    expect(placement.missing()).toEqual([]);
    placement.vanished({ part: 0, server: 1 });
    expect(placement.missing()).toEqual([{ part: 0, server: 1 }]);
  });
});
