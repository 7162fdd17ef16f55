import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import type { Fault, PositionedFault } from "../support/proxy-faults.ts";
import { type ContentServer, type GivenOrder, sourceText, Stage } from "../support/stage.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(180_000);

const FILE_BYTES = 600_000;
/** The first connection of a source is the one that lists, the second the one that fetches its file. */
const LIST = 0;
const FETCH = 1;

interface Damage {
  connection: typeof LIST | typeof FETCH;
  fault: PositionedFault;
}

interface Outcome extends Damage {
  status: string;
  error: string | undefined;
  failures: number;
  /** What differs between the source's tree and what arrived. */
  differences: string[];
}

function fill(directory: string): void {
  makeLargeFile(join(directory, "in/some/directory/file"), { seed: 1, sizeBytes: FILE_BYTES });
  for (const name of ["empty", "another/empty"]) mkdirSync(join(directory, name), { recursive: true });
}

/** How many bytes a server sends over each of its two connections when nothing is wrong. */
async function undamagedBytes(): Promise<[list: number, fetch: number]> {
  await using stage = await Stage.open();
  const content = await stage.content("data", fill);
  await using proxy = await startProxy({ target: { host: "127.0.0.1", port: content.port } });
  expect((await stage.order([sourceText(proxy)])).code).toBe(0);
  expect(proxy.connections).toHaveLength(2);
  return [proxy.connections[LIST]!.bytesToClient, proxy.connections[FETCH]!.bytesToClient];
}

/** One order for many sources, which are all the same server behind proxies, each with its own damage. */
async function orderThrough(damages: readonly Damage[]): Promise<Outcome[]> {
  await using stage = await Stage.open({ flags: ["-w", String(damages.length), "--threads", "2"] });
  const content = await stage.content("data", fill);
  await using proxies = new AsyncDisposableStack();
  const behind: Proxy[] = [];
  for (const { connection, fault } of damages) {
    const target = { host: "127.0.0.1", port: content.port };
    const faults = (number: number): Fault[] => (number === connection ? [fault] : []);
    behind.push(proxies.use(await startProxy({ target, faults })));
  }
  const sources = behind.map((proxy) => sourceText(proxy));
  const given = await stage.order(sources, { timeoutMs: 150_000 });
  const outcomes: Outcome[] = [];
  for (const [index, proxy] of behind.entries()) {
    const damage = damages[index]!;
    await proxy.reached(damage.fault.kind);
    outcomes.push({ ...damage, ...(await outcomeOf(stage, content, given, proxy)) });
  }
  expect(namesBelow(stage.mirrorDirectory).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  return outcomes;
}

async function outcomeOf(
  stage: Stage,
  content: ContentServer,
  { result }: GivenOrder,
  proxy: Proxy,
): Promise<Omit<Outcome, keyof Damage>> {
  const { status, error } = result.sources.find(({ port }) => port === proxy.port)!;
  const failures = result.failures.filter(({ port }) => port === proxy.port).length;
  const hasCome = readdirSync(stage.mirrorDirectory).includes(`127.0.0.1_${proxy.port}`);
  const differences = hasCome
    ? await diffTrees(content.directory, stage.treeOf(proxy))
    : ["nothing came: missing"];
  return { status, error, failures, differences };
}

/** Everywhere in the handshake and the first answer, at each border of pieces, and at the end. */
function positions(totalBytes: number): number[] {
  const first = Array.from({ length: 32 }, (_, index) => index * 4);
  const last = Array.from({ length: 10 }, (_, index) => totalBytes - 1 - index * 4);
  const between = [1000, 262_144, 262_270, 262_280, 400_000].filter((at) => at < totalBytes - 100);
  return [...new Set([...first, ...between, ...last])].filter((at) => at >= 0 && at < totalBytes);
}

/** A file that was damaged on its way is fetched again, and the order brings everything. */
function isRepaired(outcome: Outcome): void {
  expect(outcome).toEqual({ ...outcome, status: "complete", error: undefined, failures: 0, differences: [] });
}

/** A list is not asked for twice: it may be lost, but what came is right, and what is missing is told. */
function isHonest(outcome: Outcome): void {
  if (outcome.status === "complete") return isRepaired(outcome);
  expect(outcome.error).toBeString();
  expect(outcome.differences.filter((line) => !/: missing$|^Only in /.test(line))).toEqual([]);
}

function check(outcomes: readonly Outcome[]): void {
  for (const outcome of outcomes) {
    if (outcome.connection === FETCH) isRepaired(outcome);
    else isHonest(outcome);
  }
}

describe("a link that damages what it carries", () => {
  const damages = async (faultsAt: (atByte: number) => PositionedFault[]): Promise<Damage[]> => {
    const totals = await undamagedBytes();
    return [LIST, FETCH].flatMap((connection) =>
      positions(totals[connection]!).flatMap((atByte) =>
        faultsAt(atByte).map((fault): Damage => ({ connection: connection as Damage["connection"], fault })),
      ),
    );
  };

  test("flips a bit somewhere", async () => {
    // A length that became larger makes the client wait in vain: all of these wait at the same time.
    check(
      await orderThrough(await damages((atByte) => [1, 5].map((bit) => ({ kind: "flip", atByte, bit })))),
    );
  });

  test("puts in garbage somewhere", async () => {
    const bytes = Buffer.from("garbage that came from nowhere");
    check(await orderThrough(await damages((atByte) => [{ kind: "garbage", atByte, bytes }])));
  });

  test("is cut somewhere", async () => {
    check(
      await orderThrough(
        await damages((atByte) => [
          { kind: "cut", atByte, how: "fin" },
          { kind: "cut", atByte, how: "rst" },
        ]),
      ),
    );
  });
});

test("a connection with many small files under way is lost again and again, and all of them arrive", async () => {
  await using stage = await Stage.open({ flags: ["-w", "2"] });
  const content = await stage.content("data", (directory) => {
    makeManyFiles(directory, { seed: 2, count: 500, directories: 5, minBytes: 0, maxBytes: 5000 });
  });
  const target = { host: "127.0.0.1", port: content.port };
  // The first is the list's; each of the next twenty lives for 20 kB.
  const faults = (number: number): Fault[] =>
    number === LIST || number > 20 ? [] : [{ kind: "cut", atByte: 20_000, how: "rst" }];
  await using proxy = await startProxy({ target, faults });
  const { code, result } = await stage.order([sourceText(proxy)]);
  expect(result.failures).toEqual([]);
  expect(code).toBe(0);
  expect(await diffTrees(content.directory, stage.treeOf(proxy))).toEqual([]);
  expect(proxy.connections.length).toBeGreaterThan(10);
});

describe("slow links", () => {
  test.each([{ kind: "dribble" }, { kind: "throttle", bytesPerSecond: 200_000 }] as Fault[])(
    "%o",
    async (fault) => {
      await using stage = await Stage.open();
      const content = await stage.content("data", (directory) => {
        makeManyFiles(directory, { seed: 3, count: 20, directories: 3, minBytes: 0, maxBytes: 4000 });
      });
      const target = { host: "127.0.0.1", port: content.port };
      await using proxy = await startProxy({ target, faults: [fault] });
      expect((await stage.order([sourceText(proxy)])).code).toBe(0);
      expect(await diffTrees(content.directory, stage.treeOf(proxy))).toEqual([]);
    },
  );
});
