import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray } from "../support/process.ts";
import {
  type FetchAsked,
  type Script,
  type ScriptedConnection,
  ScriptedSource,
} from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";
import { dataFrame, fileFrame, welcome } from "../support/wire-bytes.ts";

/*
 * A peer that has gone silent is given 30 seconds (10 in the handshake). Everything that has to wait
 * for it here waits at the same time.
 */
setDefaultTimeout(240_000);
const PATIENCE = { timeoutMs: 180_000 };

const FILE = Buffer.alloc(300_000, "content ");
const HALF = FILE.subarray(0, 150_000);
const files = { file: FILE };

/** Does something else with the first of what it is told about. */
function firstOnly<T extends unknown[]>(
  first: (...args: T) => void,
  later: (...args: T) => void,
): (...args: T) => void {
  let isFirst = true;
  return (...args) => {
    const act = isFirst ? first : later;
    isFirst = false;
    act(...args);
  };
}

function halfAFile(connection: ScriptedConnection, { id, digest }: FetchAsked): void {
  connection.send(fileFrame(id, { size: FILE.length }), dataFrame(id, digest, HALF));
}

const answerFetch = (connection: ScriptedConnection, asked: FetchAsked): void =>
  connection.answerFetch(asked);
const nothing = (): void => {};

/** These hang once, and are honest from then on: the file arrives. */
const HANG_ONCE: Record<string, Script> = {
  "silent in the handshake": {
    files,
    hello: firstOnly<[ScriptedConnection]>(nothing, (connection) => connection.sendWelcome()),
  },
  "silent after half a file": { files, ping: nothing, fetch: firstOnly(halfAFile, answerFetch) },
  "answers only PINGs after half a file": { files, fetch: firstOnly(halfAFile, answerFetch) },
  "answers only PINGs instead of a file": {
    files,
    fetch: firstOnly<[ScriptedConnection, FetchAsked]>(nothing, answerFetch),
  },
  "sends a byte now and then": { files, fetch: firstOnly(dribble, answerFetch) },
};

/** These hang for good: the source is given up. */
const HANG_ALWAYS: Record<string, Script> = {
  "always silent in the handshake": { hello: nothing },
  "never sends its list": { list: nothing },
};

/** Bytes keep coming, and never make a message. */
function dribble(connection: ScriptedConnection, asked: FetchAsked): void {
  halfAFile(connection, asked);
  const rest = dataFrame(asked.id, asked.digest, HALF);
  let at = 0;
  const timer = setInterval(() => {
    if (connection.isClosed) clearInterval(timer);
    else connection.send(rest.subarray(at, ++at));
  }, 200);
}

test("peers that stall hold up nobody, and are given up or tried again", async () => {
  await using stage = await Stage.open({ flags: ["-w", "16"] });
  const good = await stage.content("good", (directory) => {
    makeManyFiles(directory, { seed: 1, count: 200, directories: 4, minBytes: 0, maxBytes: 50_000 });
  });
  using sources = new DisposableStack();
  const start = ([what, script]: [string, Script]): { what: string; port: number } => {
    const { port } = sources.use(new ScriptedSource(script));
    return { what, port };
  };
  const once = Object.entries(HANG_ONCE).map(start);
  const always = Object.entries(HANG_ALWAYS).map(start);

  const order = stage.startOrder(
    [...once, ...always, good].map((source) => sourceText(source)),
    ["--patience", "1s"],
  );
  const others = Promise.all([
    silentMirror(),
    silentInTheMiddle(),
    silentClient(good.port),
    silentClient(stage.mirrorPort),
  ]);

  await order.waitFor((event) => event.type === "source" && event["port"] === good.port);
  expect(await diffTrees(good.directory, stage.treeOf(good))).toEqual([]);
  expect(order.events.filter(({ type }) => type === "source")).toHaveLength(1);

  const { code, events } = await order.finished(PATIENCE);
  expect(code).toBe(3);
  const results = new Map(
    (events.at(-1)!["sources"] as { port: number; status: string; error?: string }[]).map((source) => [
      source.port,
      source,
    ]),
  );
  for (const { what, port } of once) {
    expect({ what, ...results.get(port) }).toMatchObject({ what, status: "complete" });
    expect(namesBelow(stage.treeOf({ port }))).toEqual(["file"]);
    expect(await Bun.file(`${stage.treeOf({ port })}/file`).text()).toBe(FILE.toString());
  }
  for (const { what, port } of always) {
    expect({ what, ...results.get(port) }).toMatchObject({
      what,
      status: "unreachable",
      error: expect.stringMatching(/silent|no progress/),
    });
  }
  await others;
});

/** A mirror that never answers the handshake. */
async function silentMirror(): Promise<void> {
  using mirror = new ScriptedSource({ hello: nothing });
  const to = ["-m", "127.0.0.1", "-p", String(mirror.port), "--timeout", "1s"];
  const { code, stderr } = await runDray(["initiate", ...to, "-s", "127.0.0.1:1:.:0"], PATIENCE);
  expect(code).toBe(7);
  expect(stderr).toContain("has been silent for");
}

/** A mirror that takes orders and is never heard of again. */
async function silentInTheMiddle(): Promise<void> {
  using mirror = new ScriptedSource({ hello: (connection) => connection.send(welcome(1, 2)), ping: nothing });
  const args = ["initiate", "-m", "127.0.0.1", "-p", String(mirror.port), "-s", "127.0.0.1:1:.:0"];
  const { code, stderr } = await runDray(args, PATIENCE);
  expect(code).toBe(7);
  expect(stderr).toContain(`at 127.0.0.1:${mirror.port}`);
  expect(stderr).toContain("has been silent for");
}

/** A client that says nothing is sent away. */
async function silentClient(port: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.on("error", () => undefined); // a reset is an end, too
  socket.resume();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  socket.on("close", resolve);
  await promise;
}
