import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import { contentService } from "../../src/transfer/content-service.ts";
import type { Services } from "../../src/transfer/session.ts";
import {
  ContentStage,
  HELLO,
  PING,
  SENT,
  fetch,
  gotType,
  idsOf,
  list,
  settled,
  typesOf,
} from "../property/content-stage.ts";
import { naiveMessage } from "../property/naive-codec.ts";
import { makeLargeFile } from "../support/tree.ts";

let stage: ContentStage;
beforeEach(() => {
  stage = new ContentStage();
});
afterEach(() => stage[Symbol.asyncDispose]());

const { welcome, error, pong, entries, listed, file, data, end } = SENT;

describe("requests", () => {
  test("are answered in order, whatever they are, each complete before the next", async () => {
    makeLargeFile(stage.folder.join("large"), { seed: 1, sizeBytes: 3_000_000 });
    const peer = await stage.welcomed();
    const requests: Buffer[] = [];
    for (let id = 1; id <= 250; id++) {
      if (id % 50 === 0) requests.push(fetch(id, "large"));
      else if (id % 7 === 0) requests.push(fetch(id, `docs/missing-${id}`));
      else if (id % 11 === 0) requests.push(list(id));
      else requests.push(fetch(id, `docs/${"abc"[id % 3]}`));
    }
    peer.send(...requests);
    const isLast = (): true | undefined => {
      const last = peer.frames.at(-1);
      return last?.requestId === 250 && last.type === end ? true : undefined;
    };
    await peer.until(isLast, "all answers");
    const ids = idsOf(peer).slice(1);
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
    expect(new Set(ids).size).toBe(250);
    for (const [id, type] of new Map(peer.frames.slice(1).map(({ type, requestId }) => [requestId, type]))) {
      const expected = id % 50 === 0 ? end : id % 7 === 0 ? error : id % 11 === 0 ? listed : end;
      expect([id, type]).toEqual([id, expected]);
    }
  });

  test("that come in one packet with HELLO are answered", async () => {
    const peer = await stage.connect(HELLO, list(1), fetch(2, "docs/a"));
    await peer.gotFrames(6, 5_000);
    expect(typesOf(peer)).toEqual([welcome, entries, listed, file, data, end]);
  });

  test("that come in one packet behind a PING are answered", async () => {
    const peer = await stage.welcomed();
    for (let id = 1; id <= 3; id++) {
      peer.send(PING, fetch(id, "docs/a"));
      await peer.gotFrames(1 + 4 * id, 5_000);
    }
    const answers = typesOf(peer).filter((type) => type !== pong);
    expect(answers).toEqual([welcome, file, data, end, file, data, end, file, data, end]);
  });

  test("are answered however their bytes are split", async () => {
    const stream = Buffer.concat([
      HELLO,
      list(1, 1),
      PING,
      fetch(2, "docs/a"),
      PING,
      fetch(3, "docs/missing"),
    ]);
    for (const size of [1, 5, 16, 17, 30, 61]) {
      const peer = await stage.connect();
      for (let at = 0; at < stream.length; at += size) {
        peer.send(stream.subarray(at, at + size));
        if (size < 16) await new Promise((resolve) => setImmediate(resolve));
      }
      await gotType(peer, error, 1, 5_000);
      const answers = typesOf(peer).filter((type) => type !== pong);
      expect(answers).toEqual([welcome, entries, listed, file, data, end, error]);
    }
  });

  test("that the server does not offer are refused one by one", async () => {
    const peer = await stage.welcomed();
    peer.send(naiveMessage({ type: "order", json: "{}" }, 1), fetch(2, "docs/a"));
    await peer.gotFrames(5);
    expect(typesOf(peer)).toEqual([welcome, error, file, data, end]);
    expect(peer.frames[1]!.payload.readUInt16LE(0)).toBe(11);
  });

  test("of a client that ended its side are answered, then the server ends its own", async () => {
    makeLargeFile(stage.folder.join("large"), { seed: 2, sizeBytes: 20_000_000 });
    const peer = await stage.welcomed();
    peer.send(fetch(1, "large", 20), fetch(2, "docs/a"), list(3));
    peer.end();
    await peer.ended();
    expect(typesOf(peer).filter((type) => type !== data)).toEqual([
      ...[welcome, file, end],
      ...[file, end, entries, listed],
    ]);
    const pieces = peer.frames.filter(({ type, requestId }) => type === data && requestId === 1);
    expect(pieces.reduce((sum, { payload }) => sum + payload.length - 8, 0)).toBe(20_000_000);
    await peer.closed();
  });
});

describe("delays", () => {
  test("of waiting requests run at the same time, and the answers keep their order", async () => {
    const taken: number[] = [];
    const inner = contentService(stage.root, "server/1");
    const respond: Services["respond"] = (request, requestId, ...rest) => {
      taken.push(requestId);
      return inner.respond(request, requestId, ...rest);
    };
    await stage.restart({ services: { ...inner, respond } });
    const peer = await stage.welcomed();
    const timers = spyOn(globalThis, "setTimeout");
    try {
      const ids = Array.from({ length: 40 }, (_, index) => index + 1);
      // The first one waits longest: the others are due, and still wait for it.
      peer.send(...ids.map((id) => fetch(id, "docs/a", id === 1 ? 200 : 150)));
      await peer.gotFrames(2);
      expect(taken).toEqual(ids);
      const armed = timers.mock.calls.length;
      await peer.gotFrames(1 + 3 * ids.length);
      expect(idsOf(peer).slice(1)).toEqual(ids.flatMap((id) => [id, id, id]));
      // Once the first is due nobody waits any more: the other delays are over.
      const laterDelaysMs = timers.mock.calls.slice(armed).map(([, delayMs]) => delayMs ?? 0);
      expect(laterDelaysMs.filter((delayMs) => delayMs > 20 && delayMs <= 200)).toEqual([]);
    } finally {
      timers.mockRestore();
    }
  });

  test("of any length that fits the message neither overflow a timer nor spin", async () => {
    const peer = await stage.welcomed();
    const timers = spyOn(globalThis, "setTimeout");
    try {
      for (const [index, delayMs] of [0xffff_ffff, 0x8000_0000, 0x7fff_ffff].entries()) {
        peer.send(fetch(index + 1, "docs/a", delayMs));
      }
      expect(await settled(peer)).toEqual([welcome]);
      for (const [, delayMs] of timers.mock.calls) expect(delayMs ?? 0).toBeLessThanOrEqual(0x7fff_ffff);
    } finally {
      timers.mockRestore();
    }
  });
});

describe("the answer to a request", () => {
  test("is released exactly once, however the request ends", async () => {
    const released = new Map<number, number>();
    const services: Services = {
      capabilities: 1,
      agent: "server/1",
      respond: (_, requestId) => ({
        fill: (out) => {
          if (requestId === 1) throw new Error("a fault");
          if (requestId === 2) {
            out.put({ type: "end", length: 0, chain: new Uint8Array(0) }, requestId);
            return "done";
          }
          return "waiting";
        },
        release: () => released.set(requestId, (released.get(requestId) ?? 0) + 1),
      }),
    };
    await stage.restart({ services });
    const peer = await stage.welcomed();
    peer.send(...[1, 2, 3, 4, 5].map((id) => fetch(id, "x")));
    await peer.gotFrames(3);
    expect(typesOf(peer)).toEqual([welcome, error, end]);
    expect(peer.frames[1]!.payload.readUInt16LE(0)).toBe(1);
    peer.terminate();
    await stage.restart({});
    expect(released).toEqual(new Map([1, 2, 3, 4, 5].map((id) => [id, 1])));
  });
});
