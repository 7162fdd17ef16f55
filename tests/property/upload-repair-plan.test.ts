import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Placement } from "../../src/upload/placement.ts";
import { batchesOf, restoresOf } from "../../src/upload/repair-plan.ts";
import { seededRandom } from "../support/random.ts";
import { runs } from "./runs.ts";

/** What a repair finds, and what goes wrong while it works. */
const worlds = fc.record({
  servers: fc.integer({ min: 1, max: 10 }),
  copies: fc.integer({ min: 1, max: 5 }),
  parts: fc.integer({ min: 0, max: 12 }),
  seed: fc.nat(),
});

describe("a repair", () => {
  test("ends, with as many copies of each part as there can be, read from good ones alone", () => {
    fc.assert(
      fc.property(worlds, ({ servers, copies, parts, seed }) => {
        const random = seededRandom(seed);
        const names = Array.from({ length: servers }, (_, index) => `h${index}:1`);
        const placement = new Placement({ root: "0".repeat(64), parts, servers: names, copies });
        const good = Array.from({ length: parts }, () => new Set<number>());
        const dead = new Set<number>();
        for (let part = 0; part < parts; part++) {
          for (let server = 0; server < servers; server++) {
            if (random.next() < 0.4) good[part]!.add(server);
          }
        }
        for (const [part, holders] of good.entries())
          for (const server of holders) placement.landed({ part, server });
        const loseOne = (server: number): void => {
          dead.add(server);
          placement.lost(server);
        };
        for (let server = 0; server < servers; server++) if (random.next() < 0.2) loseOne(server);
        const alive = (part: number): number[] => [...good[part]!].filter((server) => !dead.has(server));

        const tried = new Set<number>();
        let rounds = 0;
        for (let next = restoresOf(placement, tried); next.length > 0; next = restoresOf(placement, tried)) {
          expect(++rounds).toBeLessThan(10 * servers * parts + 10);
          for (const { part, from, to } of next) {
            expect([...from].sort((a, b) => a - b)).toEqual(alive(part).sort((a, b) => a - b));
            expect(to.length).toBeGreaterThan(0);
            expect(to.every((server) => !good[part]!.has(server) && !dead.has(server))).toBe(true);
          }
          for (const { part, from, to } of next) {
            const source = from.find((server) => !dead.has(server));
            if (source === undefined || random.next() < 0.05) {
              tried.add(part);
              continue;
            }
            for (const server of to) {
              if (dead.has(server)) continue;
              if (random.next() < 0.05) loseOne(server);
              else {
                good[part]!.add(server);
                placement.landed({ part, server });
              }
            }
          }
        }
        const able = servers - dead.size;
        for (let part = 0; part < parts; part++) {
          const living = alive(part).length;
          if (living > 0 && !tried.has(part)) expect(living).toBeGreaterThanOrEqual(Math.min(copies, able));
        }
        const short = placement.short().map(({ part }) => part);
        for (const part of short) expect(alive(part).length).toBeLessThan(copies);
        for (const { part, server } of placement.surplus()) {
          expect(alive(part).filter((holder) => holder !== server).length).toBeGreaterThanOrEqual(copies);
        }
      }),
      runs(500),
    );
  });

  test("a part that nobody has is not asked for", () => {
    const placement = new Placement({ root: "0".repeat(64), parts: 2, servers: ["a:1", "b:1"], copies: 2 });
    placement.landed({ part: 1, server: 0 });
    expect(restoresOf(placement, new Set())).toEqual([{ part: 1, from: [0], to: [1] }]);
    expect(restoresOf(placement, new Set([1]))).toEqual([]);
    expect(placement.short()).toEqual([
      { part: 0, copies: 0 },
      { part: 1, copies: 1 },
    ]);
  });

  test("batches hold all, in order, and no more than fits", () => {
    const restores = Array.from({ length: 10 }, (_, part) => ({ part, from: [0], to: [1] }));
    expect(batchesOf(restores, 64, 256).map((batch) => batch.length)).toEqual([4, 4, 2]);
    expect(batchesOf(restores, 1000, 256).map((batch) => batch.length)).toEqual(Array(10).fill(1));
    expect(batchesOf(restores, 64, 256).flat()).toEqual(restores);
    expect(batchesOf([], 64, 256)).toEqual([]);
  });
});
