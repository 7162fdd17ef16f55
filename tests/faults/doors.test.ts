import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { type Socket, connect } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { Authority, type Issued } from "../support/certificates.ts";
import { type Door, IndependentClient } from "../support/independent-client.ts";
import { peakRssBytes } from "../support/memory.ts";
import type { Program } from "../support/program.ts";
import { endStartedPrograms, startDray } from "../support/process.ts";
import { seededRandom } from "../support/random.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";
import { hello } from "../support/wire-bytes.ts";

setDefaultTimeout(60_000);

/** Bad clients come from here; the good one from 127.0.0.1. */
const BAD_ADDRESS = "127.0.0.66";
const TOKEN = "good:0123456789abcdef0123456789abcdef";
const LARGE_BYTES = 5_000_000;
const MAX_PER_ADDRESS = 40;
const FLOOD = 400;

const folder = tempFolder();
let authority: Authority;
let host: Issued;
beforeAll(() => {
  makeLargeFile(folder.join("large"), { seed: 51, sizeBytes: LARGE_BYTES });
  authority = new Authority();
  host = authority.issue("host");
});
afterAll(() => {
  authority[Symbol.dispose]();
  folder[Symbol.dispose]();
});

const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await endStartedPrograms();
});

async function serve(isTls: boolean): Promise<{ program: Program; port: number; door: Door }> {
  const tokens = folder.join("tokens");
  writeFileSync(tokens, TOKEN, { mode: 0o600 });
  const tls = isTls ? ["--tls-cert", host.certPath, "--tls-key", host.keyPath] : [];
  const limits = ["--max-connections", "64", "--max-per-address", String(MAX_PER_ADDRESS)];
  const flags = ["-d", folder.path, "--token-file", tokens, ...limits, ...tls];
  const program = startDray(["content", "-p", "0", "--json", ...flags]);
  const { port } = await program.listening();
  return { program, port, door: { token: TOKEN, ...(isTls ? { tls: { ca: authority.ca } } : {}) } };
}

/** Opens a connection from the bad address. What becomes of it does not matter. */
async function badConnection(port: number): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port, localAddress: BAD_ADDRESS, allowHalfOpen: true });
  sockets.push(socket);
  socket.resume();
  await settled(socket, ["connect", "close"]);
  return socket;
}

/** Waits for the first of these events; an error is followed by "close". */
async function settled(socket: Socket, events: readonly string[]): Promise<string> {
  socket.on("error", () => {});
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const event of events) socket.once(event, () => resolve(event));
  return promise;
}

async function isServed(port: number, door: Door): Promise<void> {
  await using client = await IndependentClient.connect(port, [1, 1], door);
  const { bytes } = await client.receiveFile(client.requestFile("large"));
  expect(bytes).toHaveLength(LARGE_BYTES);
}

const random = seededRandom(52);
function garbage(lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  random.fill(bytes);
  return bytes;
}

/** The beginning of a real ClientHello, that never goes on. */
async function halfHello(): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  using listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (_, chunk) => resolve(Buffer.from(chunk)) },
  });
  const socket = connectTls({ host: "127.0.0.1", port: listener.port });
  socket.on("error", () => {});
  const hello = await promise;
  socket.destroy();
  return hello.subarray(0, hello.length / 2);
}

const ATTACKS: Record<string, (port: number) => Promise<void>> = {
  "open connections and say nothing": async (port) => void (await badConnection(port)),
  "say half of a HELLO, or of a TLS handshake": async (port) => {
    const half = await halfHello();
    (await badConnection(port)).write(half);
  },
  "send garbage": async (port) => void (await badConnection(port)).write(garbage(100_000)),
  "send garbage that looks like TLS": async (port) => {
    const socket = await badConnection(port);
    socket.write(Buffer.concat([Buffer.from([22, 3, 1, 63, 255, 1]), garbage(100_000)]));
  },
  "end their side at once, and never close": async (port) => void (await badConnection(port)).end(),
  "reset at once": async (port) => void (await badConnection(port)).resetAndDestroy(),
};

describe.each([false, true])(
  "while hundreds of clients of one address attack a server (TLS: %p)",
  (isTls) => {
    test.each(Object.entries(ATTACKS))("and %s, it serves others", async (_, attack) => {
      const { program, port, door } = await serve(isTls);
      await using early = await IndependentClient.connect(port, [1, 1], door);
      const attacking = Promise.all(Array.from({ length: FLOOD }, () => attack(port)));
      for (let round = 0; round < 3; round++) await isServed(port, door);
      await attacking;
      await isServed(port, door);
      expect((await early.receiveFile(early.requestFile("large"))).bytes).toHaveLength(LARGE_BYTES);
      expect(peakRssBytes(program.pid)).toBeLessThan(200_000_000);
      expect(program.stderrText()).not.toContain("fault in dray");
      expect(program.stderrText().split("\n").length).toBeLessThan(100);
    });
  },
);

test("clients that finish the TLS handshake and say nothing take no more than the share of their address", async () => {
  const { port, door } = await serve(true);
  const outcomes = Array.from({ length: 100 }, () => {
    const from = { host: "127.0.0.1", port, localAddress: BAD_ADDRESS, ca: authority.ca };
    const socket = connectTls(from as ConnectionOptions); // whose type lacks localAddress
    sockets.push(socket);
    return settled(socket, ["data", "close"]);
  });
  let refused = 0;
  const enough = Promise.withResolvers<void>();
  for (const outcome of outcomes) {
    void outcome.then(() => {
      if (++refused === 100 - MAX_PER_ADDRESS) enough.resolve();
    });
  }
  await enough.promise;
  expect(await Promise.race(outcomes)).toBe("data"); // ERROR "busy"
  await isServed(port, door);
  expect(refused).toBe(100 - MAX_PER_ADDRESS);
});

test("an address that guesses tokens is slowed down, and no other one", async () => {
  const { program, port, door } = await serve(false);
  const guess = async (token: string): Promise<string> => {
    const socket = await badConnection(port);
    socket.write(hello(1, 1, token));
    const { promise, resolve } = Promise.withResolvers<string>();
    socket.once("data", (bytes: Buffer) => resolve(bytes.toString("latin1")));
    const answer = await promise;
    socket.end();
    await settled(socket, ["close"]);
    return answer;
  };
  const answers: string[] = [];
  for (let count = 0; count < 60; count++) answers.push(await guess(`guess:${count}-0123456789abcdef`));
  expect(answers[0]).toContain("the token is not one");
  expect(answers.at(-1)).toContain("too many wrong tokens");
  expect(answers.filter((answer) => answer.includes("the token is not one")).length).toBeLessThan(40);
  await isServed(port, door);
  expect(program.stderrText()).not.toContain("guess:");
});
