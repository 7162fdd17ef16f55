import { afterEach, beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { IndependentClient, type Fetched, ServerError } from "../support/independent-client.ts";
import { endStartedPrograms, startDray } from "../support/process.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles, makeOddTree } from "../support/tree.ts";

// docs/PROTOCOL.md is enough to talk to dray: the client here was written from it alone.

type OrderEvent = { type: string; orderId?: string } & Record<string, unknown>;

/** The fields of an order besides its sources. */
const TERMS = { attempts: 5, patienceMs: 60_000, include: [], exclude: [] };

const folder = tempFolder();
const tree = folder.join("tree");

beforeAll(() => {
  makeOddTree(tree, { seed: 5, links: true });
  makeManyFiles(`${tree}/many`, { seed: 6, count: 700, directories: 20, minBytes: 0, maxBytes: 20_000 });
  makeLargeFile(`${tree}/large.bin`, { seed: 7, sizeBytes: 9 * 1024 * 1024 + 12_345 });
  return () => folder[Symbol.dispose]();
});

afterEach(endStartedPrograms);

async function startContent(directory = tree): Promise<number> {
  const { port } = await startDray(["content", "-p", "0", "-d", directory, "--json"]).listening();
  return port;
}

/** What the real sha256sum says of every regular file below a directory, by relative path. */
async function sha256sums(directory: string): Promise<Record<string, string>> {
  const script = "find . -type f -print0 | xargs -0 sha256sum --zero --";
  const output = await Bun.$`sh -c ${script}`.cwd(directory).text();
  const lines = output.split("\0").filter((line) => line !== "");
  return Object.fromEntries(lines.map((line) => [line.slice(66 + "./".length), line.slice(0, 64)]));
}

async function errorCode(answer: Promise<unknown>): Promise<number> {
  const error = await answer.then(
    () => new Error("There was no error"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof ServerError) return error.code;
  throw error;
}

for (const digest of ["xxh3", "sha256"] as const) {
  test(`lists a tree and fetches every file of it, checked with ${digest}`, async () => {
    await using client = await IndependentClient.connect(await startContent());
    const entries = await client.list(".");
    const files = entries.filter((entry) => entry.kind === 0);
    const sums: Record<string, string> = {};
    for (let start = 0; start < files.length; start += 256) {
      const batch = files.slice(start, start + 256);
      const ids = batch.map(({ path }) => client.requestFile(path, { digest }));
      for (const [index, entry] of batch.entries()) {
        const fetched: Fetched = await client.receiveFile(ids[index]!, digest);
        const { size, mtimeUs, mode } = fetched;
        expect({ size, mtimeUs, mode }).toEqual({
          size: entry.size,
          mtimeUs: entry.mtimeUs,
          mode: entry.mode,
        });
        sums[entry.path] = createHash("sha256").update(fetched.bytes).digest("hex");
      }
    }
    expect(sums).toEqual(await sha256sums(tree));
    expect(
      entries
        .filter((entry) => entry.kind === 2)
        .map((entry) => entry.path)
        .sort(),
    ).toEqual(["dangling", "link-to-directory", "link-to-file", "outside"]);
  });
}

test("directories come before what is in them, and a listing matches whole components", async () => {
  mkdirSync(folder.join("export/docs/deep"), { recursive: true });
  mkdirSync(folder.join("export/docs2"));
  for (const name of ["docs/a", "docs/deep/b", "docs2/c"]) writeFileSync(folder.join("export", name), name);
  await using client = await IndependentClient.connect(await startContent(folder.join("export")));
  const paths = (await client.list("docs")).map((entry) => entry.path);
  expect(paths[0]).toBe("docs");
  expect(paths.indexOf("docs/deep")).toBeLessThan(paths.indexOf("docs/deep/b"));
  expect(paths.sort()).toEqual(["docs", "docs/a", "docs/deep", "docs/deep/b"]);
  expect((await client.list("./docs//deep/b")).map((entry) => entry.path)).toEqual(["docs/deep/b"]);
});

test("gives ranges, cut to the file", async () => {
  await using client = await IndependentClient.connect(await startContent());
  const whole = readFileSync(`${tree}/large.bin`);
  const ranges = [
    { offset: 1_000_000, length: 700_001 },
    { offset: whole.length - 5, length: 100 },
    { offset: 0, length: 0 },
    { offset: whole.length + 7, length: 9 },
  ];
  const ids = ranges.map((range) => client.requestFile("large.bin", range));
  for (const [index, { offset, length }] of ranges.entries()) {
    const fetched = await client.receiveFile(ids[index]!);
    expect(fetched.offset).toBe(Math.min(offset, whole.length));
    expect(fetched.bytes.equals(whole.subarray(offset, offset + length))).toBe(true);
  }
});

test("one request fails and the next one is answered", async () => {
  symlinkSync("/etc", folder.join("export/out"));
  writeFileSync(folder.join("secret"), "not exported");
  await using client = await IndependentClient.connect(await startContent(folder.join("export")));
  const expected: Record<string, number> = {
    nothing: 4,
    docs: 9,
    "out/hostname": 9,
    out: 9,
    "../secret": 10,
    "/etc/hostname": 10,
    "": 10,
    "a\0b": 10,
    ["x".repeat(256)]: 10,
  };
  const paths = Object.keys(expected);
  const ids = paths.map((path) => client.requestFile(path));
  const good = client.requestFile("docs/a");
  const codes: Record<string, number> = {};
  for (const [index, id] of ids.entries()) codes[paths[index]!] = await errorCode(client.receiveFile(id));
  expect(codes).toEqual(expected);
  expect((await client.receiveFile(good)).bytes.toString()).toBe("docs/a");
  expect(await errorCode(client.list("nothing"))).toBe(4);
  client.send(32, undefined, Buffer.from('{"sources":[]}'));
  expect(await errorCode(client.nextFrame())).toBe(11);
});

test("delays of requests that wait run at the same time, and a PONG overtakes them", async () => {
  await using client = await IndependentClient.connect(await startContent());
  const startedMs = performance.now();
  const ids = Array.from({ length: 10 }, () => client.requestFile("empty", { delayMs: 1000 }));
  client.send(4, 0);
  const first = await client.frames.next();
  expect(first.value?.type).toBe(5);
  for (const id of ids) await client.receiveFile(id);
  const tookMs = performance.now() - startedMs;
  expect(tookMs).toBeGreaterThanOrEqual(990);
  expect(tookMs).toBeLessThan(5000);
});

test("a listing waits for credit", async () => {
  await using client = await IndependentClient.connect(await startContent());
  const id = client.send(16, undefined, Buffer.from([1, 0, 0, 0]), Buffer.from([1, 0]), Buffer.from("."));
  expect((await client.nextFrame(id)).type).toBe(18);
  client.send(4, 0);
  expect((await client.frames.next()).value?.type).toBe(5); // and not another ENTRIES
  client.send(17, id, Buffer.from([100, 0, 0, 0]));
  expect((await client.nextFrame(id)).type).toBe(18);
  let last = await client.nextFrame(id);
  while (last.type === 18) last = await client.nextFrame(id);
  expect(last.type).toBe(19);
});

test("answers come in full after the client has ended its side", async () => {
  await using client = await IndependentClient.connect(await startContent());
  const ids = Array.from({ length: 5 }, () => client.requestFile("large.bin"));
  client.endSending();
  for (const id of ids) expect((await client.receiveFile(id)).bytes.length).toBe(9 * 1024 * 1024 + 12_345);
  expect((await client.frames.next()).done).toBe(true);
});

test("gives a mirror an order and follows it to its result", async () => {
  const source = { host: "127.0.0.1", port: await startContent(), delayMs: 0 };
  const sources = [
    { ...source, path: "many" },
    { ...source, path: "nothing" },
  ];
  const mirrored = folder.join("mirror");
  const mirror = startDray(["mirror", "-p", "0", "-m", mirrored, "-w", "2", "--json"]);
  await using client = await IndependentClient.connect((await mirror.listening()).port);
  const events = await answerTo(client, { do: "give", order: { sources, ...TERMS } });
  expect(events[0]?.type).toBe("accepted");
  const ends = events.filter((event) => event.type === "source").map(({ path, status }) => [path, status]);
  expect(Object.fromEntries(ends)).toEqual({ many: "complete", nothing: "not-found" });
  expect(events.at(-1)).toMatchObject({ files: 700, failed: 0, unchanged: 0 });
  expect(await sha256sums(`${mirrored}/127.0.0.1_${source.port}/many`)).toEqual(
    await sha256sums(`${tree}/many`),
  );
  const { orderId } = events[0]!;

  // What has ended is told again, listed, and cannot be cancelled.
  expect(await answerTo(client, { do: "follow", orderId })).toEqual([events.at(-1)!]);
  const [listed, last] = await answerTo(client, { do: "list" });
  expect(listed).toMatchObject({ type: "order", orderId, state: "done", last: { files: 700, failed: 0 } });
  expect(last).toEqual({ type: "orders", count: 1 });
  const retried = await answerTo(client, { do: "retry", orderId });
  expect([retried[0], retried.at(-1)]).toMatchObject([
    { type: "accepted", orderId },
    { type: "result", orderId },
  ]);
  const problems = { cancel: 9, follow: 4 };
  expect(await errorCode(answerTo(client, { do: "cancel", orderId }))).toBe(problems.cancel);
  expect(await errorCode(answerTo(client, { do: "follow", orderId: "unknown" }))).toBe(problems.follow);
  for (const wrong of [
    '{"do":"give","order":{"sources":[]}}',
    '{"sources":[],"more":1}',
    '{"do":"dance"}',
    "{",
  ]) {
    client.send(32, undefined, Buffer.from(wrong));
    expect(await errorCode(client.nextFrame())).toBe(2);
  }
});

/** All events that answer a request. */
async function eventsOf(client: IndependentClient, id: number): Promise<OrderEvent[]> {
  const events: OrderEvent[] = [];
  while (!["result", "orders", "cancelled"].includes(events.at(-1)?.type ?? "")) {
    const { type, payload } = await client.nextFrame(id);
    expect(type).toBe(33);
    events.push(JSON.parse(payload.toString()) as OrderEvent);
  }
  return events;
}

function command(client: IndependentClient, json: object): number {
  return client.send(32, undefined, Buffer.from(JSON.stringify(json)));
}

const answerTo = (client: IndependentClient, json: object): Promise<OrderEvent[]> =>
  eventsOf(client, command(client, json));

test("cancels an order that is running, and whoever follows it hears of it", async () => {
  const source = { host: "127.0.0.1", port: await startContent(), path: "many", delayMs: 60_000 };
  const mirror = startDray(["mirror", "-p", "0", "-m", folder.join("other-mirror"), "-w", "2", "--json"]);
  const { port } = await mirror.listening();
  await using client = await IndependentClient.connect(port);
  await using other = await IndependentClient.connect(port);
  const order = { sources: [source], ...TERMS, everyMs: 3_600_000 };
  const id = command(client, { do: "give", order });
  const { type, orderId } = JSON.parse((await client.nextFrame(id)).payload.toString()) as OrderEvent;
  expect(type).toBe("accepted");
  const [listed] = await answerTo(other, { do: "list" });
  expect(listed).toMatchObject({ type: "order", orderId, state: "running", everyMs: 3_600_000 });
  const followed = eventsOf(client, id);
  expect(await answerTo(other, { do: "cancel", orderId })).toEqual([
    { type: "cancelled", orderId: orderId! },
  ]);
  expect((await followed).at(-1)).toEqual({ type: "cancelled", orderId: orderId! });
  expect((await answerTo(other, { do: "list" }))[0]).toMatchObject({ orderId, state: "cancelled" });
});

test("versions that the server does not speak are refused", async () => {
  const port = await startContent();
  expect(await errorCode(IndependentClient.connect(port, [2, 9]))).toBe(11);
  await using client = await IndependentClient.connect(port, [1, 9]);
  expect(await client.list("empty")).toHaveLength(1);
});

test("a breach of protocol is told, and ends the connection and nothing else", async () => {
  const port = await startContent();
  await using bystander = await IndependentClient.connect(port);
  const a = Buffer.from([1, 0, 97]);
  const breaches: Record<string, { code: number; send: (client: IndependentClient) => void }> = {
    "no frame": {
      code: 7,
      send: (client) => client.sendBytes(Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")),
    },
    "an unknown type": { code: 7, send: (client) => client.send(99, 1) },
    "a message for clients": { code: 7, send: (client) => client.send(2, 0) },
    "a frame over its limit": { code: 7, send: (client) => client.send(16, 1, Buffer.alloc(8193)) },
    "an unknown digest": {
      code: 7,
      send: (client) => client.send(20, 1, Buffer.concat([Buffer.alloc(20), Buffer.from([3]), a])),
    },
    "a message that is too short": { code: 7, send: (client) => client.send(17, 1, Buffer.alloc(3)) },
    "a message that is too long": { code: 7, send: (client) => client.send(16, 1, Buffer.alloc(4), a, a) },
    "request id zero": { code: 7, send: (client) => client.send(16, 0, Buffer.from([1, 0, 0, 0]), a) },
    "HELLO again": {
      code: 7,
      send: (client) => client.send(1, 0, Buffer.from("DRAY\x01\0\x01\0\0\0\0\0\0\0\0\0", "latin1")),
    },
    "a damaged frame": {
      code: 5,
      send: (client) => client.sendBytes(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 4, ...Buffer.alloc(7)])),
    },
  };
  for (const [what, { code, send }] of Object.entries(breaches)) {
    await using client = await IndependentClient.connect(port);
    send(client);
    expect({ what, code: await errorCode(client.nextFrame()) }).toEqual({ what, code });
    expect({ what, ended: (await client.frames.next()).done }).toEqual({ what, ended: true });
  }
  expect(await bystander.list("empty")).toHaveLength(1);
});
