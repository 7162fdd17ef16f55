import { afterAll, beforeAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import fc from "fast-check";
import { ContentStage, HELLO, PING, SENT, gotType, list, more, typesOf } from "./content-stage.ts";
import { type NaiveFrame, naiveMessage } from "./naive-codec.ts";
import type { RawPeer } from "./raw-peer.ts";
import { runs } from "./runs.ts";

const LARGE = new Uint8Array(700_001).map((_, index) => index * 13);
const MANY = 1100; // three batches of a list

let stage: ContentStage;
beforeAll(() => {
  stage = new ContentStage();
  fs.writeFileSync(stage.folder.join("large"), LARGE);
  fs.writeFileSync(stage.folder.join("empty"), "");
  fs.mkdirSync(stage.folder.join("many"));
  for (let index = 0; index < MANY; index++) fs.writeFileSync(stage.folder.join(`many/${index}`), "");
});
afterAll(() => stage[Symbol.asyncDispose]());

const contents = new Map<string, Uint8Array>([
  ["large", LARGE],
  ["empty", new Uint8Array(0)],
  ["docs/a", Buffer.from("a".repeat(100))],
]);

interface Fetch {
  do: "fetch";
  path: string;
  offset: number;
  length: number;
  delayMs: number;
}
interface List {
  do: "list";
  path: string;
  credit: number;
}
type Step = Fetch | List | { do: "more"; of: number; credit: number } | { do: "ping" } | { do: "breathe" };

const position = fc.oneof(fc.nat(300), fc.nat(800_000), fc.constantFrom(0, 262_144, Number.MAX_SAFE_INTEGER));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("fetch" as const),
      path: fc.constantFrom("large", "empty", "docs/a", "docs/a", "missing", "docs", "../up"),
      offset: position,
      length: position,
      delayMs: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(5) }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("list" as const),
      path: fc.constantFrom("many", ".", "docs", "docs/a", "missing"),
      credit: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("more" as const), of: fc.nat(25), credit: fc.nat(2) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ping" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("breathe" as const) }) },
);

/** Sends the steps, in one packet from one breath to the next; then credit for all lists that still lack it. */
async function converse(peer: RawPeer, steps: readonly Step[]): Promise<(Fetch | List)[]> {
  const requests: (Fetch | List)[] = [];
  let packet: Buffer[] = [HELLO];
  for (const one of steps) {
    if (one.do === "breathe") {
      peer.send(...packet);
      packet = [];
      await new Promise((resolve) => setImmediate(resolve));
    } else if (one.do === "ping") packet.push(PING);
    else if (one.do === "more") packet.push(more(one.of, one.credit));
    else {
      requests.push(one);
      const id = requests.length;
      if (one.do === "list") packet.push(list(id, one.credit, one.path));
      else packet.push(naiveMessage({ ...one, type: "fetch", digest: "xxh3" }, id));
    }
  }
  peer.send(...packet, ...requests.map((_, index) => more(index + 1, 10)), PING);
  return requests;
}

/** Whether an answer is one, whole, to what was asked. */
function check(request: Fetch | List, answer: readonly NaiveFrame[]): void {
  const types = answer.map(({ type }) => type);
  if (request.do === "list") {
    if (request.path === "missing") return expect(types).toEqual([SENT.error]);
    const many = request.path === "many" || request.path === ".";
    expect(types).toEqual([...Array.from({ length: many ? 3 : 1 }, () => SENT.entries), SENT.listed]);
    if (request.path === "many") expect(answer.at(-1)!.payload.readBigInt64LE(0)).toBe(BigInt(MANY));
    return;
  }
  const file = contents.get(request.path);
  if (file === undefined) return expect(types).toEqual([SENT.error]);
  const expected = file.subarray(request.offset, Math.min(file.length, request.offset + request.length));
  const pieces = answer.filter(({ type }) => type === SENT.data).map(({ payload }) => payload.subarray(8));
  expect(types).toEqual([SENT.file, ...pieces.map(() => SENT.data), SENT.end]);
  expect(Buffer.compare(Buffer.concat(pieces), expected)).toBe(0);
}

test("whatever is asked in whatever way, each request gets its whole answer, in order", async () => {
  let answers = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: "max" }),
      fc.boolean(),
      async (steps, endsEarly) => {
        const peer = await stage.connect();
        const requests = await converse(peer, steps);
        if (endsEarly) {
          peer.end(); // it has said everything: all answers come all the same
          await peer.ended(10_000);
        } else {
          const ends: number[] = [SENT.listed, SENT.end, SENT.error];
          const isOver = (): boolean =>
            peer.frames.some(({ type }) => type === SENT.pong) &&
            (requests.length === 0 ||
              peer.frames.some(
                ({ type, requestId }) => requestId === requests.length && ends.includes(type),
              ));
          await peer.until(() => (isOver() ? true : undefined), "all answers", 10_000);
        }
        const framesOf = (id: number): NaiveFrame[] =>
          peer.frames.filter(({ requestId }) => requestId === id);
        const ids = peer.frames.map(({ requestId }) => requestId).filter((id) => id !== 0);
        expect(ids).toEqual([...ids].sort((a, b) => a - b));
        for (const [index, request] of requests.entries()) check(request, framesOf(index + 1));
        expect(typesOf(peer)[0]).toBe(SENT.welcome);
        const pings = steps.filter((one) => one.do === "ping").length + 1;
        expect(framesOf(0).filter(({ type }) => type === SENT.pong).length).toBeLessThanOrEqual(pings);
        answers += requests.length;
        peer.terminate();
      },
    ),
    runs(120),
  );
  expect(answers).toBeGreaterThan(300);
  const sane = await stage.welcomed();
  sane.send(list(1));
  await gotType(sane, SENT.listed);
});
