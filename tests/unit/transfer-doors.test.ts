import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { Client } from "../../src/transfer/client.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import type { ClientIdentity, Services } from "../../src/transfer/session.ts";
import { TokenList } from "../../src/transfer/tokens.ts";
import {
  ContentStage,
  HELLO,
  SENT,
  fetch,
  helloWith,
  list,
  settled,
  typesOf,
} from "../property/content-stage.ts";
import { rejectionOf } from "../property/error-code.ts";
import type { RawPeer } from "../property/raw-peer.ts";
import { Authority, type Issued } from "../support/certificates.ts";

let stage: ContentStage;
beforeEach(() => {
  stage = new ContentStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const { welcome, error, file, data, end } = SENT;
const CODES = { unauthorized: 8, busy: 12 };
const ALICE = "alice:a secret that is long enough";

const security = (text: string) => ({ tokens: new TokenList(text), tls: undefined });

function lastError(peer: RawPeer): { code: number; retryAfterMs: number; message: string } {
  const { payload } = peer.frames.findLast(({ type }) => type === error)!;
  return {
    code: payload.readUInt16LE(0),
    retryAfterMs: payload.readUInt32LE(2),
    message: payload.toString("utf8", 8),
  };
}

describe("a server with tokens", () => {
  const wrong: [string, string][] = [
    ["no token", ""],
    ["another token", "alice:a secret that is long enougH"],
    ["the name alone", "alice"],
    ["the secret alone", "a secret that is long enough"],
    ["as many bytes as a HELLO takes", "x".repeat(990)],
  ];
  test.each(wrong)(
    "says ERROR to a client with %s, ends it, and answers none of its requests",
    async (_, token) => {
      const asked: string[] = [];
      const inner = contentService(stage.root, "server/1");
      const respond: Services["respond"] = (request, ...rest) => {
        asked.push(request.type);
        return inner.respond(request, ...rest);
      };
      await stage.restart({ security: security(ALICE), services: { ...inner, respond } });
      const peer = await stage.connect(helloWith(token), fetch(1, "docs/a"), list(2));
      await peer.ended();
      peer.send(helloWith(ALICE), fetch(3, "docs/a"));
      peer.end();
      await peer.closed();
      expect(typesOf(peer)).toEqual([error]);
      expect(lastError(peer).code).toBe(CODES.unauthorized);
      expect(asked).toEqual([]);
      expect(stage.warnings.join()).not.toContain("secret that is long");
    },
  );

  test("lets in a client with one of them, and tells whoever answers its requests who it is", async () => {
    const clients: ClientIdentity[] = [];
    const inner = contentService(stage.root, "server/1");
    const respond: Services["respond"] = (request, requestId, wake, client) => {
      clients.push(client);
      return inner.respond(request, requestId, wake, client);
    };
    await stage.restart({
      security: security(`${ALICE}\nno name here, just a secret`),
      services: { ...inner, respond },
    });
    for (const token of [ALICE, "no name here, just a secret"]) {
      const peer = await stage.connect(helloWith(token), fetch(1, "docs/a"));
      await peer.gotFrames(4);
      expect(typesOf(peer)).toEqual([welcome, file, data, end]);
    }
    expect(clients).toEqual([
      { name: "alice", address: "127.0.0.1" },
      { name: undefined, address: "127.0.0.1" },
    ]);
  });

  test("can be given others while it runs: who is in stays in", async () => {
    const current = security(ALICE);
    await stage.restart({ security: current });
    const early = await stage.connect(helloWith(ALICE));
    await early.gotFrames(1);
    Object.assign(current, security("bob:another long enough secret"));
    const late = await stage.connect(helloWith(ALICE));
    await late.ended();
    expect(lastError(late).code).toBe(CODES.unauthorized);
    const bob = await stage.connect(helloWith("bob:another long enough secret"));
    await bob.gotFrames(1);
    expect([await settled(early), await settled(bob)]).toEqual([[welcome], [welcome]]);
  });

  test("takes 20 wrong ones of an address, then has it wait a second for each", async () => {
    const now = performance.now();
    let aheadMs = 0;
    using clock = spyOn(performance, "now").mockImplementation(() => now + aheadMs);
    expect(clock).toBeDefined();
    await stage.restart({ security: security(ALICE) });
    const outcome = async (token: string): Promise<number> => {
      const peer = await stage.connect(helloWith(token));
      await peer.ended();
      peer.end();
      return lastError(peer).code;
    };
    for (let guess = 0; guess < 20; guess++) expect(await outcome(`guess ${guess}`)).toBe(CODES.unauthorized);
    // Also the right one: whoever guesses does not learn when it was right.
    const refused = await stage.connect(helloWith(ALICE));
    await refused.ended();
    expect(lastError(refused)).toMatchObject({ code: CODES.busy, retryAfterMs: 1_000 });
    aheadMs = 1_000;
    const letIn = await stage.connect(helloWith(ALICE));
    await letIn.gotFrames(1);
    expect(typesOf(letIn)).toEqual([welcome]);
    expect(await outcome("one more")).toBe(CODES.unauthorized);
    expect(await outcome("one too many")).toBe(CODES.busy);
  });
});

describe("more connections of one address than allowed", () => {
  test("are told to come back later, until one leaves", async () => {
    await stage.restart({ maxPerAddress: 2 });
    const [first, second] = [await stage.welcomed(), await stage.welcomed()];
    const third = await stage.connect(HELLO);
    await third.ended();
    expect(typesOf(third)).toEqual([error]);
    expect(lastError(third)).toMatchObject({ code: CODES.busy });
    expect(lastError(third).retryAfterMs).toBeGreaterThan(0);
    first.end();
    await first.closed();
    expect(typesOf(await stage.welcomed())).toEqual([welcome]);
    expect(await settled(second)).toEqual([welcome]);
  });

  test("do not keep out other addresses", async () => {
    await stage.restart({ maxPerAddress: 1 });
    await stage.welcomed();
    // The whole of 127.0.0.0/8 is this machine.
    const other = connect({ host: "127.0.0.1", port: stage.server.port, localAddress: "127.0.0.2" });
    other.write(HELLO);
    const [answer] = (await once(other, "data")) as [Buffer];
    expect(answer[8]).toBe(welcome);
    other.destroy();
  });
});

describe("over TLS", () => {
  let authority: Authority;
  let host: Issued;
  beforeAll(() => {
    authority = new Authority();
    host = authority.issue("host");
  });
  afterAll(() => authority[Symbol.dispose]());

  const tls = () => ({ tokens: undefined, tls: { cert: host.cert, key: host.key, clientCa: undefined } });

  test("a client that begins no handshake is ended in time, whether there is room for it or not", async () => {
    await stage.restart({ maxConnections: 1, security: tls() });
    const [silent, withoutRoom] = [await stage.connect(), await stage.connect()];
    const now = performance.now.bind(performance);
    using clock = spyOn(performance, "now").mockImplementation(() => now() + 10_500);
    expect(clock).toBeDefined();
    await Promise.all([silent.closed(5_000), withoutRoom.closed(5_000)]);
    expect([silent.receivedBytes, withoutRoom.receivedBytes]).toEqual([0, 0]);
  });

  test("a client without room is told so once its handshake is done", async () => {
    await stage.restart({ maxConnections: 1, security: tls() });
    await stage.connect();
    const security = { token: undefined, tls: { ca: authority.ca, identity: undefined } };
    const connecting = Client.connect(
      { host: "127.0.0.1", port: stage.server.port },
      { agent: "test/1", timeoutMs: 5_000, security },
    );
    expect(await rejectionOf(connecting)).toMatchObject({ code: "busy", retryAfterMs: 1_000 });
  });

  test("stop ends those that have not finished the handshake, too", async () => {
    await stage.restart({ security: tls() });
    const silent = await stage.connect();
    const stopped = stage.server.stop();
    await silent.ended();
    silent.end();
    await stopped;
  });
});

test("an idle limit that is set ends connections that ask for nothing", async () => {
  await stage.restart({ idleTimeoutMs: 2_000 });
  const idle = await stage.welcomed();
  const now = performance.now.bind(performance);
  using clock = spyOn(performance, "now").mockImplementation(() => now() + 2_500);
  expect(clock).toBeDefined();
  await idle.ended();
});
