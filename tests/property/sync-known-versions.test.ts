import { expect, test } from "bun:test";
import fc from "fast-check";
import { KnownVersions } from "../../src/sync/server/known-versions.ts";
import { Pairing } from "../../src/sync/server/pairing.ts";
import { runs } from "./runs.ts";

const NAMES = ["a", "b", "c"] as const;

test("a client is taken to have exactly what it was told, or, of what is older than itself, what the list said", () => {
  const name = fc.constantFrom(...NAMES);
  const step = fc.oneof(
    fc.record({ do: fc.constant("commit" as const), name }),
    fc.record({ do: fc.constant("tell" as const), name }),
    fc.record({ do: fc.constant("deliver" as const), name, afterMs: fc.nat(50_000) }),
    fc.record({ do: fc.constant("forget" as const), name }),
    fc.record({ do: fc.constant("settle" as const) }),
  );
  fc.assert(
    fc.property(fc.nat(3), fc.array(step, { maxLength: 60 }), (floor, steps) => {
      let sequence = floor;
      let nowMs = 0;
      const current = new Map<string, number>();
      const told = new Map<string, number | "anything">();
      const deliveredMs = new Map<string, number>();
      const known = new KnownVersions(floor);
      for (const next of steps) {
        if (next.do === "commit") current.set(next.name, ++sequence);
        else if (next.do === "forget") {
          known.forget(next.name);
          told.set(next.name, "anything");
        } else if (next.do === "settle") {
          // As in a feed: only when there is nothing that the client has to hear.
          if ([...current].some(([at, version]) => told.get(at) !== version)) continue;
          known.settle(sequence);
        } else {
          const version = current.get(next.name) ?? 0;
          if (next.do === "tell") known.tell(next.name, version);
          else {
            nowMs += next.afterMs;
            known.delivered(next.name, version, nowMs);
            deliveredMs.set(next.name, nowMs);
          }
          told.set(next.name, version);
        }
        for (const at of NAMES) {
          const version = current.get(at) ?? 0;
          const heard = told.get(at);
          expect(known.holds(at, version)).toBe(heard === undefined ? version <= floor : heard === version);
          const endedMs = deliveredMs.get(at);
          expect(known.wasJustDelivered(at, nowMs)).toBe(endedMs !== undefined && nowMs - endedMs < 60_000);
        }
      }
    }),
    runs(300),
  );
});

test("the details of a client that has heard everything are forgotten, not what it still waits for", () => {
  const known = new KnownVersions(0);
  for (let index = 1; index <= 5_000; index++) known.tell(`f${index}`, index);
  known.forget("f7");
  known.settle(5_000);
  expect(known.holds("f4999", 4_999)).toBe(true);
  expect(known.holds("f7", 7)).toBe(false);
  expect(known.holds("f8", 5_001)).toBe(false);
});

type Arrival = { client: number; channel: "send" | "receive"; afterMs: number };

/** Each client's two connections, in any order of all. */
const arrivals = fc.integer({ min: 1, max: 4 }).chain((clients) => {
  const all = [...Array(clients).keys()].flatMap((client) => [
    { client, channel: "send" as const },
    { client, channel: "receive" as const },
  ]);
  return fc
    .tuple(
      fc.shuffledSubarray(all, { minLength: all.length }),
      fc.array(fc.constantFrom(0, 1, 40, 6_000), { minLength: all.length, maxLength: all.length }),
    )
    .map(([order, waits]): Arrival[] =>
      order.map((arrival, index) => ({ ...arrival, afterMs: waits[index]! })),
    );
});

test("tokens pair exactly, whatever was guessed before, and whoever named none is never paired with who did", () => {
  fc.assert(
    fc.property(arrivals, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), (order, isOurs) => {
      const pairing = new Pairing(5_000);
      const partners = new Map<number, number>();
      let nowMs = 0;
      const apply = (changes: ReturnType<Pairing["arrived"]>): void => {
        for (const { change, send, receive, isExact } of changes) {
          if (change === "paired") {
            // A guess that turns out to be right is told again, as exact.
            const isConfirmed = isExact && partners.get(send) === receive;
            if (!isConfirmed) expect(partners.has(send) || partners.has(receive)).toBe(false);
            partners.set(send, receive).set(receive, send);
          } else {
            expect(partners.get(send)).toBe(receive);
            partners.delete(send);
            partners.delete(receive);
          }
        }
      };
      const idOf = ({ client, channel }: Arrival): number => client * 2 + (channel === "send" ? 0 : 1);
      for (const arrival of order) {
        nowMs += arrival.afterMs;
        apply(pairing.arrived(idOf(arrival), arrival.channel, "10.0.0.1", nowMs));
      }
      for (const arrival of order)
        if (isOurs[arrival.client]) apply(pairing.named(idOf(arrival), `token ${arrival.client}`, nowMs));
      for (const arrival of order) {
        const id = idOf(arrival);
        expect(pairing.partnerOf(id)).toBe(partners.get(id));
        if (isOurs[arrival.client]) expect(partners.get(id)).toBe(id ^ 1);
        else {
          const partner = partners.get(id);
          if (partner !== undefined) expect(isOurs[partner >> 1]).toBe(false);
        }
      }
    }),
    runs(500),
  );
});

test("two connections of one address that come alone are paired; who comes among others is not guessed at", () => {
  const pairing = new Pairing(5_000);
  expect(pairing.arrived(1, "send", "10.0.0.1", 0)).toEqual([]);
  expect(pairing.arrived(9, "receive", "10.0.0.2", 0)).toEqual([]);
  expect(pairing.arrived(2, "receive", "10.0.0.1", 10)).toEqual([
    { change: "paired", send: 1, receive: 2, isExact: false },
  ]);
  // Two clients at once: their four connections could belong together in two ways.
  for (const [id, channel] of [
    [3, "receive"],
    [4, "receive"],
    [5, "send"],
    [6, "send"],
  ] as const)
    expect(pairing.arrived(id, channel, "10.0.0.1", 20)).toEqual([]);
  // Long after, everything is clear again.
  pairing.arrived(7, "receive", "10.0.0.1", 10_000);
  expect(pairing.arrived(8, "send", "10.0.0.1", 10_001)).toHaveLength(1);
  expect(pairing.partnerOf(8)).toBe(7);
  // Too late for each other.
  pairing.arrived(10, "receive", "10.0.0.1", 20_000);
  expect(pairing.arrived(11, "send", "10.0.0.1", 26_000)).toEqual([]);
});

test("who has lost its partner is not given somebody else's", () => {
  const pairing = new Pairing(5_000);
  pairing.arrived(1, "send", "10.0.0.1", 0);
  pairing.arrived(2, "receive", "10.0.0.1", 0);
  expect(pairing.left(2, 1)).toEqual([]);
  expect(pairing.arrived(3, "receive", "10.0.0.1", 2)).toEqual([]);
  expect(pairing.partnerOf(1)).toBeUndefined();
});
