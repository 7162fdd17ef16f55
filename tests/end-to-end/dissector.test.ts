import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Message, MessageType } from "../../src/wire/messages.ts";
import { naiveMessage } from "../property/naive-codec.ts";
import { type NaiveSync, naiveSyncBytes } from "../property/naive-sync-codec.ts";
import { startContent } from "../support/content-server.ts";
import { LiteralSyncClient } from "../support/literal-sync-client.ts";
import { LiteralSyncServer } from "../support/literal-sync-server.ts";
import { hasTshark, type Said, tsharkFields, tsharkValues, writePcap } from "../support/pcap.ts";
import { SyncServerStage } from "../support/literal-sync-stage.ts";
import { runDray, startDray } from "../support/process.ts";
import { tableWithHead } from "../support/protocol-document.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { tempFolder } from "../support/temp.ts";

const SCRIPT = join(import.meta.dir, "../../docs/dray.lua");
const SERVER_PORT = 9321;
const isThere = hasTshark();
if (!isThere) console.warn("tshark is not installed: the Wireshark dissectors are not tested here");

/** All values of the fields in a capture of one conversation. */
function dissected(said: readonly Said[], fields: readonly string[], more: string[] = []): string[][] {
  using folder = tempFolder();
  writePcap(folder.join("a.pcap"), [{ serverPort: SERVER_PORT, said }]);
  return tsharkValues(folder.join("a.pcap"), SCRIPT, fields, more);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** One of each message, and what tshark must say about its fields. */
const SAMPLES: { [Type in MessageType]: [Extract<Message, { type: Type }>, Record<string, string[]>] } = {
  hello: [
    {
      type: "hello",
      versionMin: 1,
      versionMax: 3,
      capabilities: 0,
      token: Buffer.from("secret"),
      agent: "test/1",
    },
    { version_min: ["1"], version_max: ["3"], token: [hex(Buffer.from("secret"))], agent: ["test/1"] },
  ],
  welcome: [
    { type: "welcome", version: 1, capabilities: 10, maxRequests: 256, agent: "dray" },
    {
      version: ["1"],
      "capabilities.content": ["0"],
      "capabilities.orders": ["1"],
      "capabilities.writes": ["1"],
      max_requests: ["256"],
    },
  ],
  error: [
    { type: "error", code: "locked", retryAfterMs: 500, message: "later" },
    { code: ["19"], retry_after_ms: ["500"], message: ["later"] },
  ],
  ping: [{ type: "ping" }, {}],
  pong: [{ type: "pong" }, {}],
  list: [
    { type: "list", path: "docs", credit: 4 },
    { path: ["docs"], credit: ["4"] },
  ],
  more: [{ type: "more", credit: 7 }, { credit: ["7"] }],
  entries: [
    {
      type: "entries",
      entries: [
        { kind: "file", path: "docs/é", size: 2 ** 40, mtimeUs: -1, mode: 0o644, target: "" },
        {
          kind: "symlink",
          path: "docs/l",
          size: 0,
          mtimeUs: 1_700_000_000_000_000,
          mode: 0o777,
          target: "é",
        },
      ],
    },
    {
      kind: ["0", "2"],
      path: ["docs/é", "docs/l"],
      size: ["1099511627776", "0"],
      mtime_us: ["-1", "1700000000000000"],
      target: ["", "é"],
    },
  ],
  listed: [
    { type: "listed", files: 1, directories: 2, others: 3 },
    { files: ["1"], directories: ["2"], others: ["3"] },
  ],
  fetch: [
    { type: "fetch", path: "docs/é", offset: 5, length: 2 ** 53 - 1, delayMs: 250, digest: "sha256" },
    { path: ["docs/é"], offset: ["5"], length: ["9007199254740991"], delay_ms: ["250"], digest_kind: ["2"] },
  ],
  file: [
    { type: "file", size: 100, mtimeUs: 1, mode: 0o755, offset: 5, length: 95 },
    { size: ["100"], mtime_us: ["1"], mode: ["493"], offset: ["5"], length: ["95"] },
  ],
  data: [
    { type: "data", payload: Buffer.alloc(40, 9) },
    { digest: ["09".repeat(32)], piece: ["09".repeat(8)] },
  ],
  end: [
    { type: "end", length: 95, chain: Buffer.alloc(32, 8) },
    { length: ["95"], chain: ["08".repeat(32)] },
  ],
  sums: [
    { type: "sums", path: "s", pieceBytes: 4096, digest: "xxh3" },
    { path: ["s"], piece_bytes: ["4096"], digest_kind: ["1"] },
  ],
  digests: [
    { type: "digests", payload: Buffer.concat([Buffer.alloc(8, 1), Buffer.alloc(8, 2)]) },
    { digest: ["01".repeat(8), "02".repeat(8)] },
  ],
  recall: [
    { type: "recall", path: "s", pieceBytes: 8192, digest: "xxh3" },
    { path: ["s"], piece_bytes: ["8192"], digest_kind: ["1"] },
  ],
  order: [{ type: "order", json: '{"do":"list"}' }, { json: ['{"do":"list"}'] }],
  event: [{ type: "event", json: '{"type":"orders","x":[1]}' }, { json: ['{"type":"orders","x":[1]}'] }],
  put: [
    { type: "put", path: "p", size: 3, mtimeUs: 4, mode: 0o600, digest: "xxh3", eager: true },
    { path: ["p"], size: ["3"], mode: ["384"], "put_flags.eager": ["1"] },
  ],
  ready: [{ type: "ready", offset: 77 }, { offset: ["77"] }],
  done: [{ type: "done", count: 78 }, { count: ["78"] }],
  remove: [{ type: "remove", path: "r" }, { path: ["r"] }],
  rename: [
    { type: "rename", from: "f", to: "t" },
    { from: ["f"], to: ["t"] },
  ],
  cache: [{ type: "cache" }, {}],
  cached: [
    { type: "cached", entries: [{ path: "c", size: 10, hits: 11, pins: 12 }] },
    { path: ["c"], size: ["10"], hits: ["11"], pins: ["12"] },
  ],
};

/** Requests whose digest decides how later frames are read. */
const REQUEST_IDS: Partial<Record<MessageType, number>> = {
  fetch: 3,
  file: 3,
  data: 3,
  end: 3,
  sums: 4,
  digests: 4,
};
const samples = Object.entries(SAMPLES) as [MessageType, [Message, Record<string, string[]>]][];
const stream = samples.map(([type, [message]]) => naiveMessage(message, REQUEST_IDS[type] ?? 0));

describe.skipIf(!isThere)("the dissector of the dray protocol", () => {
  const numbers = tableWithHead("Number", "Message", "To", "Limit", "Request id", "Meaning");
  const numberOf = (type: MessageType): string =>
    numbers.find((row) => row["Message"] === type.toUpperCase())!["Number"]!;

  test.each([
    ["in one segment", undefined, []],
    ["in segments of 23 bytes", 23, []],
    ["in two passes, as the window does it", 23, ["-2"]],
  ])("shows every message of the document with its fields, %s", (_, segmentBytes, flags) => {
    const names = [...new Set(samples.flatMap(([, [, fields]]) => Object.keys(fields)))];
    const [types, requests, ...values] = dissected(
      [
        {
          from: "client",
          bytes: Buffer.concat(stream),
          ...(segmentBytes === undefined ? {} : { segmentBytes }),
        },
      ],
      ["dray.type", "dray.request", ...names.map((name) => `dray.${name}`)],
      // The first segments end inside of HELLO, which is what connections are found by.
      ["-d", `tcp.port==${SERVER_PORT},dray`, ...flags],
    );
    expect(types).toEqual(samples.map(([type]) => numberOf(type)));
    expect(requests).toEqual(samples.map(([type]) => String(REQUEST_IDS[type] ?? 0)));
    const sent = (name: string): string[] => samples.flatMap(([, [, fields]]) => fields[name] ?? []);
    for (const [index, name] of names.entries()) {
      // A field may stand in a message whose sample does not name it; none that was named may be missing.
      expect([name, values[index]]).toEqual([name, expect.arrayContaining(sent(name))]);
    }
    expect(new Set(numbers.map((row) => row["Number"]))).toEqual(new Set(types));
  });

  test("finds the connection by its first bytes, and puts a large frame together", () => {
    const json = JSON.stringify({ type: "result", text: "x".repeat(200_000) });
    const large = naiveMessage({ type: "event", json }, 9);
    const [types, shown] = dissected(
      [
        { from: "client", bytes: stream[0]! },
        { from: "server", bytes: Buffer.concat([stream[1]!, large, stream[3]!]), segmentBytes: 1400 },
      ],
      ["dray.type", "dray.json"],
    );
    expect(types).toEqual(["1", "2", "33", "4"]);
    expect(shown).toEqual([json]);
  });

  test("blames what is not a frame, and a payload that does not fit its message", () => {
    const short = naiveMessage({ type: "more", credit: 1 }, 1);
    short.writeUInt32LE(3, 4);
    const long = naiveMessage({ type: "order", json: "12345678" }, 1);
    long[8] = 17;
    const bytes = Buffer.concat([stream[0]!, short.subarray(0, -1), long, Buffer.alloc(16, 0xff)]);
    const [types, bad, leftover] = dissected(
      [{ from: "client", bytes }],
      ["dray.type", "dray.malformed", "dray.leftover"],
    );
    expect(types).toEqual(["1", "17", "17"]);
    expect([bad?.length, leftover?.length]).toEqual([2, 1]);
  });

  test("shows what dray content and dray fetch really said", async () => {
    using folder = tempFolder();
    mkdirSync(folder.join("from"));
    const contents = Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * index) % 251));
    writeFileSync(folder.join("from", "a.bin"), contents);
    await using server = await startContent(folder.join("from"));
    await using proxy = await startProxy({ target: { host: "127.0.0.1", port: server.port } });
    const fetch = ["fetch", "127.0.0.1", String(proxy.port), "a.bin", folder.join("to")];
    expect(await runDray(fetch)).toMatchObject({ code: 0 });
    expect(readFileSync(folder.join("to", "a.bin")).equals(contents)).toBe(true);

    const said = proxy.connections.flatMap((connection) => both(connection, 1000));
    const [types, paths, pieces, bad] = dissected(said, [
      "dray.type",
      "dray.path",
      "dray.piece",
      "dray.malformed",
    ]);
    expect(types?.slice(0, 2)).toEqual(["1", "20"]);
    expect(types).toEqual(expect.arrayContaining(["2", "21", "22", "23"]));
    expect(paths).toContain("a.bin");
    expect(pieces?.join("")).toBe(hex(contents));
    expect(bad).toEqual([]);
  });
});

const MD5 = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const named = (kind: "close" | "abort" | "delete" | "request", name: string): NaiveSync => ({
  kind,
  rawName: Buffer.from(name),
  md5: MD5,
});
const chunk = (name: string, data: Buffer): NaiveSync => ({
  kind: "chunk",
  rawName: Buffer.from(name),
  md5: MD5,
  data,
  missing: 0,
});
const status = (code: number): NaiveSync => ({ kind: "status", code });

describe.skipIf(!isThere)("the dissector of the sync protocol", () => {
  const messages = [
    chunk("META-DATA", Buffer.from("a\t1\t2\tff\n")),
    chunk("sub/é", Buffer.from("data")),
    chunk("empty", Buffer.alloc(0)),
    named("close", "sub/é"),
    named("abort", "b"),
    named("delete", "c"),
    named("request", "n".repeat(65_535)),
    ...[1, 2, 4, 8, 16, 32, 64, 128, 0x8000, 0x0041, 0x0100].map(status),
  ];
  const bytes = Buffer.concat(messages.map(naiveSyncBytes));

  test.each([
    [60_000, []],
    [1000, []],
    [11, ["-2"]],
  ])("shows all messages and codes, in segments of %d bytes %p", (segmentBytes, flags) => {
    const fields = [
      "type",
      "md5",
      "size",
      "name",
      "data",
      "metadata",
      "code",
      "code.locked",
      "code.keep_alive",
    ];
    const [types, md5, sizes, names, data, metadata, codes, locked, keepAlive] = dissected(
      [{ from: "server", bytes, segmentBytes }],
      fields.map((field) => `dray_sync.${field}`),
      ["-d", `tcp.port==${SERVER_PORT},dray_sync`, ...flags],
    );
    expect(types?.map(Number)).toEqual([1, 1, 1, 3, 4, 5, 6, ...Array.from({ length: 11 }, () => 2)]);
    expect(new Set(md5)).toEqual(new Set([hex(MD5)]));
    expect(sizes).toEqual(["9", "4", "0"]);
    expect(names).toEqual(["META-DATA", "sub/é", "empty", "sub/é", "b", "c", "n".repeat(65_535)]);
    expect(data).toEqual([hex(Buffer.from("data"))]);
    expect(metadata?.join("")).toContain("a");
    expect(codes?.map(Number)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 0x8000, 0x0041, 0x0100]);
    expect(locked).toEqual(["0", "0", "0", "0", "0", "0", "1", "0", "0", "1", "0"]);
    expect(keepAlive?.indexOf("1")).toBe(8);
  });

  test("puts a chunk of a megabyte together, and shows of one over its limit the head alone", () => {
    const big = chunk("big", Buffer.alloc(1_000_000, 7));
    const said: Said[] = [
      { from: "client", bytes: Buffer.concat([big, status(1)].map(naiveSyncBytes)), segmentBytes: 60_000 },
    ];
    const [sizes, data, codes] = dissected(said, ["dray_sync.size", "dray_sync.data", "dray_sync.code"]);
    expect(sizes).toEqual(["1000000"]);
    expect(data).toEqual(["07".repeat(1_000_000)]);
    expect(codes?.map(Number)).toEqual([1]);
    const limited = ["-o", "dray_sync.max_mib:0"];
    const [names, oversize] = dissected(said, ["dray_sync.name", "dray_sync.oversize"], limited);
    expect([names, oversize?.length]).toEqual([["big"], 1]);
  });

  test("finds connections by their first bytes, other ports by its preference, and leaves HTTP alone", () => {
    using folder = tempFolder();
    const first = naiveSyncBytes(messages[0]!);
    const http = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    writePcap(folder.join("a.pcap"), [
      { serverPort: 7001, said: [{ from: "server", bytes: first }] },
      { serverPort: 7002, said: [{ from: "client", bytes: naiveSyncBytes(messages[5]!) }] },
      { serverPort: 7003, said: [{ from: "client", bytes: http }] },
      { serverPort: 7004, said: [{ from: "client", bytes: first, segmentBytes: 5 }] },
    ]);
    const found = tsharkFields(
      folder.join("a.pcap"),
      SCRIPT,
      ["tcp.stream", "dray_sync.name"],
      [...["-Y", "dray_sync", "-o", "dray_sync.ports:7004-7005"]],
    );
    expect(found).toEqual([
      [["0"], ["META-DATA"]],
      [["1"], ["c"]],
      [["3"], ["META-DATA"]],
    ]);
  });

  test("blames what is not a message", () => {
    const [types, bad] = dissected(
      [{ from: "client", bytes: Buffer.concat([naiveSyncBytes(messages[5]!), Buffer.from([7, 0, 0, 0])]) }],
      ["dray_sync.type", "dray_sync.malformed"],
    );
    expect([types?.length, bad?.length]).toEqual([1, 1]);
  });

  test("shows what a literal client and server really said", async () => {
    using folder = tempFolder();
    mkdirSync(folder.join("server"));
    mkdirSync(folder.join("client"));
    await using server = await LiteralSyncServer.start({ folder: folder.join("server"), chunkSize: 1000 });
    await using toClient = await startProxy({ target: { host: "127.0.0.1", port: server.sendPort } });
    await using toServer = await startProxy({ target: { host: "127.0.0.1", port: server.receivePort } });
    const contents = Buffer.from("0123456789".repeat(500));
    {
      await using client = await LiteralSyncClient.start({
        folder: folder.join("client"),
        sendPort: toServer.port,
        receivePort: toClient.port,
        chunkSize: 700,
      });
      client.files.write("up.txt", contents);
      await client.scan();
      server.publish("down.txt", contents);
      await client.untilHas("down.txt", contents);
      expect(await client.delete("missing")).toBe(0x20);
      await server.until(() => server.sessions[0]!.codes.length === 2 + 6, "all answers");
    }
    writePcap(folder.join("a.pcap"), [
      { serverPort: 7001, said: saidThrough(toClient) },
      { serverPort: 7002, said: saidThrough(toServer) },
    ]);
    const [names, sizes, data, noFile, bad] = tsharkValues(folder.join("a.pcap"), SCRIPT, [
      ...[
        "dray_sync.name",
        "dray_sync.size",
        "dray_sync.data",
        "dray_sync.code.no_file",
        "dray_sync.malformed",
      ],
    ]);
    const times = (count: number, name: string): string[] => Array.from({ length: count }, () => name);
    expect(names).toEqual([
      ...times(2, "META-DATA"),
      ...times(6, "down.txt"),
      ...times(9, "up.txt"),
      "missing",
    ]);
    expect(sizes).toEqual(["0", ...times(5, "1000"), ...times(7, "700"), "100"]);
    expect(data?.join("")).toBe(hex(contents).repeat(2));
    expect(noFile?.filter((value) => value === "1").length).toBe(1);
    expect(bad).toEqual([]);
  });

  test("shows what dray's own server and client really said", async () => {
    using folder = tempFolder();
    await using stage = await SyncServerStage.start();
    await using toClient = await startProxy({ target: { host: "127.0.0.1", port: stage.sendPort } });
    await using toServer = await startProxy({ target: { host: "127.0.0.1", port: stage.receivePort } });
    const contents = Buffer.from("0123456789".repeat(500));
    mkdirSync(stage.path("client"));
    writeFileSync(stage.path("client", "up.txt"), contents);
    const ports = [toServer.port, toClient.port].map(String);
    await using client = startDray([
      "sync-client",
      "127.0.0.1",
      ...ports,
      stage.path("client"),
      "1KiB",
      "--json",
    ]);
    await client.waitFor((event) => event["type"] === "sent" && event["name"] === "up.txt");
    await client.stop();
    writePcap(folder.join("a.pcap"), [
      { serverPort: 7001, said: saidThrough(toClient) },
      { serverPort: 7002, said: saidThrough(toServer) },
    ]);
    const [names, data, ok, metadata, bad] = tsharkValues(folder.join("a.pcap"), SCRIPT, [
      ...[
        "dray_sync.name",
        "dray_sync.data",
        "dray_sync.code.ok",
        "dray_sync.metadata",
        "dray_sync.malformed",
      ],
    ]);
    expect(names?.filter((name) => name === "up.txt").length).toBe(5 + 1);
    expect(names?.filter((name) => name.startsWith(".dray/pair/")).length).toBe(2);
    expect(metadata?.join("")).toContain("server=");
    expect(data?.join("")).toBe(hex(contents));
    expect(ok?.filter((value) => value === "1").length).toBeGreaterThanOrEqual(2 + 2 + 6);
    expect(bad).toEqual([]);
  });
});

function both(
  connection: { headToServer: Uint8Array; headToClient: Uint8Array },
  segmentBytes: number,
): Said[] {
  return [
    { from: "client", bytes: connection.headToServer, segmentBytes },
    { from: "server", bytes: connection.headToClient, segmentBytes },
  ];
}

function saidThrough(proxy: Proxy): Said[] {
  return proxy.connections.flatMap((connection) => both(connection, 400));
}
