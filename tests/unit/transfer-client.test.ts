import { afterEach, describe, expect, spyOn, test } from "bun:test";
import type { DrayError } from "../../src/errors/dray-error.ts";
import { Client } from "../../src/transfer/client.ts";
import type { FileHead, FileReceiver } from "../../src/transfer/fetch-reply.ts";
import type { ListEntry } from "../../src/wire/entries.ts";
import { type Message, TO_END } from "../../src/wire/messages.ts";
import { rejectionCodeOf, rejectionOf } from "../property/error-code.ts";
import { type NaiveFrame, naiveFileAnswer, naiveFrame, naiveMessage } from "../property/naive-codec.ts";
import { type FakeServer, type RawPeer, fakeServer } from "../property/raw-peer.ts";

const HELLO = 1;
const PING = 4;
const LIST = 16;
const MORE = 17;
const FETCH = 20;

const WELCOME: Message = { type: "welcome", version: 1, capabilities: 3, maxRequests: 256, agent: "fake/1" };

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanUp.splice(0).reverse()) end();
});

/** Answers HELLO as it should be, and each other frame as told. */
function serve(
  onRequest: (peer: RawPeer, frame: NaiveFrame) => void,
  welcome: Message = WELCOME,
): FakeServer {
  const server = fakeServer((peer, frame) => {
    if (frame.type === HELLO) peer.send(naiveMessage(welcome, 0));
    else onRequest(peer, frame);
  });
  cleanUp.push(() => server[Symbol.dispose]());
  return server;
}

async function connect(server: FakeServer, timeoutMs = 5_000): Promise<Client> {
  const client = await Client.connect(
    { host: "127.0.0.1", port: server.port },
    { agent: "test/1", timeoutMs },
  );
  cleanUp.push(() => client.close());
  return client;
}

function entriesOf(...paths: string[]): Message {
  return {
    type: "entries",
    entries: paths.map((path) => ({ kind: "file", path, size: 1, mtimeUs: 0, mode: 0, target: "" })),
  };
}

const listed = (files: number): Message => ({ type: "listed", files, directories: 0, others: 0 });

const fileAnswer = (id: number, contents: string): Buffer => naiveFileAnswer(id, Buffer.from(contents));

class Receiver implements FileReceiver {
  readonly calls: string[] = [];
  head(head: FileHead): void {
    this.calls.push(`head ${head.sizeBytes}`);
  }
  piece(bytes: Uint8Array): void {
    this.calls.push(`piece ${Buffer.from(bytes).toString()}`);
  }
  complete(): void {
    this.calls.push("complete");
  }
}

const request = (path: string) => ({ path, offset: 0, length: TO_END, delayMs: 0, digest: "xxh3" }) as const;

describe("a listing", () => {
  const answerWith =
    (...messages: Message[]) =>
    (peer: RawPeer, frame: NaiveFrame): void => {
      if (frame.type === LIST)
        peer.send(...messages.map((message) => naiveMessage(message, frame.requestId)));
    };

  test("gives all batches in order, and the counts", async () => {
    const client = await connect(serve(answerWith(entriesOf("a", "b"), entriesOf("c"), listed(3))));
    const paths: string[] = [];
    const counts = await client.list(".", 4, (batch) => {
      paths.push(...batch.map(({ path }) => path));
    });
    expect(paths).toEqual(["a", "b", "c"]);
    expect(counts).toEqual({ files: 3, directories: 0, others: 0 });
  });

  test.each([
    ["counts more than came", [entriesOf("a"), listed(2)]],
    ["counts less than came", [entriesOf("a", "b"), listed(1)]],
    ["counts something and sends nothing", [listed(1)]],
    ["holds a message of another answer", [entriesOf("a"), { type: "event", json: "{}" }]],
    [
      "sends more batches than it has credit for",
      [entriesOf("a"), entriesOf("b"), entriesOf("c"), listed(3)],
    ],
  ] as [string, Message[]][])("that %s is a breach of protocol", async (_, messages) => {
    const client = await connect(serve(answerWith(...messages)));
    expect(await rejectionCodeOf(client.list(".", 2, () => {}))).toBe("protocol");
  });

  test("that ends with the connection is cut, not short", async () => {
    const server = serve((peer, frame) => {
      if (frame.type !== LIST) return;
      peer.send(naiveMessage(entriesOf("a"), frame.requestId));
      peer.end();
    });
    const client = await connect(server);
    const taken: string[] = [];
    expect(
      await rejectionCodeOf(
        client.list(".", 4, (batch) => void taken.push(...batch.map(({ path }) => path))),
      ),
    ).toBe("closed");
    expect(taken).toEqual(["a"]);
  });

  test("gives credit for a batch only when it was taken", async () => {
    let mores = 0;
    const server = serve((peer, frame) => {
      if (frame.type === LIST) peer.send(naiveMessage(entriesOf("a"), 1), naiveMessage(entriesOf("b"), 1));
      if (frame.type === MORE && ++mores === 2) peer.send(naiveMessage(listed(2), 1));
    });
    const client = await connect(server);
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const seen: ListEntry[][] = [];
    const list = client.list(".", 2, async (batch) => {
      seen.push(batch);
      await gates[seen.length - 1]!.promise;
    });
    const peer = server.peers[0]!;
    await peer.until(() => (peer.frames.some(({ type }) => type === LIST) ? true : undefined), "LIST");
    expect(mores).toBe(0);
    gates[0]!.resolve();
    await peer.until(() => (mores === 1 ? true : undefined), "the first MORE");
    expect(seen).toHaveLength(2); // one after the other
    gates[1]!.resolve();
    expect(await list).toEqual({ files: 2, directories: 0, others: 0 });
  });

  test.each([
    ["before its end has come", [entriesOf("a")]],
    ["when its end is there already", [entriesOf("a"), listed(1)]],
  ] as [string, Message[]][])("whose taker throws %s fails with that error", async (_, messages) => {
    const client = await connect(serve(answerWith(...messages)));
    const list = client.list(".", 4, () => {
      throw new Error("the queue is gone");
    });
    expect(list).rejects.toThrow("the queue is gone");
    await rejectionCodeOf(list);
  });

  test("whose taker throws harms no other request, whatever is still on its way", async () => {
    const server = serve((peer, frame) => {
      if (frame.type === LIST) peer.send(naiveMessage(entriesOf("a"), frame.requestId));
      // The list goes on as far as its credit, then the next answer follows.
      const late = [entriesOf("b"), listed(2)].map((message) => naiveMessage(message, 1));
      if (frame.type === FETCH) peer.send(...late, fileAnswer(frame.requestId, "ok"));
    });
    const client = await connect(server);
    const list = client.list(".", 4, () => Promise.reject(new Error("the queue is gone")));
    await rejectionCodeOf(list);
    const receiver = new Receiver();
    // Either it works, or the connection was given up for that very reason.
    const error = await rejectionOf(client.fetch(request("x"), receiver));
    expect([undefined, "the queue is gone"]).toContain(error?.message);
  });

  test("memory does not grow with what a server sends beyond the credit", async () => {
    const batch = naiveMessage(entriesOf(...Array.from({ length: 500 }, (_, index) => `file-${index}`)), 1);
    const server = serve((peer, frame) => {
      if (frame.type === LIST) for (let round = 0; round < 2000; round++) peer.send(batch);
    });
    const client = await connect(server);
    let batches = 0;
    const code = await rejectionCodeOf(
      client.list(".", 3, async () => {
        batches++;
        await Bun.sleep(0);
      }),
    );
    expect(code).toBe("protocol");
    expect(batches).toBeLessThanOrEqual(4);
  });
});

describe("a fetch", () => {
  test("gives head, pieces and complete; many go out at once and come back in order", async () => {
    const asked: number[] = [];
    const server = serve((peer, frame) => {
      if (frame.type !== FETCH) return;
      asked.push(frame.requestId);
      if (asked.length === 3) for (const id of asked) peer.send(fileAnswer(id, `file ${id}`));
    });
    const client = await connect(server);
    const receivers = [new Receiver(), new Receiver(), new Receiver()];
    await Promise.all(receivers.map((receiver) => client.fetch(request("x"), receiver)));
    expect(receivers.map(({ calls }) => calls)).toEqual(
      asked.map((id) => ["head 6", `piece file ${id}`, "complete"]),
    );
  });

  test("that the server refuses fails alone, with the server's code, words and time to wait", async () => {
    const server = serve((peer, frame) => {
      if (frame.type !== FETCH) return;
      if (frame.requestId % 2 === 0) return peer.send(fileAnswer(frame.requestId, "ok"));
      const refusal = { type: "error", code: "changed", retryAfterMs: 1234, message: "it changed" } as const;
      const [head] = [fileAnswer(frame.requestId, "x").subarray(0, 16 + 34)];
      peer.send(head, naiveMessage(refusal, frame.requestId));
    });
    const client = await connect(server);
    const results = await Promise.allSettled(
      [1, 2, 3, 4].map(() => client.fetch(request("x"), new Receiver())),
    );
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
    const { reason } = results[0] as PromiseRejectedResult;
    expect(reason).toMatchObject({ code: "changed", message: "it changed", retryAfterMs: 1234 });
  });

  test("whose receiver throws fails alone with that error; the rest of its answer harms nobody", async () => {
    const server = serve((peer, frame) => {
      if (frame.type === FETCH) peer.send(fileAnswer(frame.requestId, `file ${frame.requestId}`));
    });
    const client = await connect(server);
    for (const where of ["head", "piece", "complete"] as const) {
      const bad = new Receiver();
      bad[where] = () => {
        throw new Error("the disk is full");
      };
      const good = new Receiver();
      const [failed, done] = await Promise.allSettled([
        client.fetch(request("x"), bad),
        client.fetch(request("x"), good),
      ]);
      expect(failed).toMatchObject({ status: "rejected", reason: { message: "the disk is full" } });
      expect(done.status).toBe("fulfilled");
      expect(good.calls).toHaveLength(3);
      expect(bad.calls).not.toContain("complete");
    }
    expect(client.isOpen).toBe(true);
  });

  test("that comes damaged fails with integrity and hands the damage to nobody", async () => {
    const server = serve((peer, frame) => {
      if (frame.type !== FETCH) return;
      const answer = fileAnswer(frame.requestId, "contents");
      // Rebuilt with a good check over a wrong piece: the digest has to find it.
      const wrong = Buffer.concat([answer.subarray(66 + 16, 66 + 16 + 8), Buffer.from("CONTENTS")]);
      peer.send(answer.subarray(0, 50), naiveFrame(22, frame.requestId, wrong));
    });
    const client = await connect(server);
    const receiver = new Receiver();
    expect(await rejectionCodeOf(client.fetch(request("x"), receiver))).toBe("integrity");
    expect(receiver.calls).toEqual(["head 8"]);
  });
});

describe("a server that goes wrong", () => {
  const pendingFetchAgainst = async (
    act: (peer: RawPeer, frame: NaiveFrame) => void,
  ): Promise<[string, string, Client]> => {
    const server = serve((peer, frame) => {
      if (frame.type === FETCH && frame.requestId === 2) act(peer, frame);
    });
    const client = await connect(server);
    const both = [client.fetch(request("x"), new Receiver()), client.fetch(request("y"), new Receiver())];
    const [first, second] = await Promise.all(both.map(rejectionCodeOf));
    return [first!, second!, client];
  };

  test.each([
    ["sends bytes that are no frames", "protocol", (peer) => peer.send(Buffer.alloc(100, "HTTP/1.1 "))],
    [
      "sends a frame with a flipped bit",
      "integrity",
      (peer) => {
        const frame = fileAnswer(1, "x");
        frame[20]! ^= 1;
        peer.send(frame);
      },
    ],
    ["answers what it was not asked", "protocol", (peer) => peer.send(fileAnswer(77, "x"))],
    [
      "sends a frame that is only for servers",
      "protocol",
      (peer) => peer.send(naiveMessage({ type: "more", credit: 1 }, 1)),
    ],
    [
      "sends an answer that belongs to no request",
      "protocol",
      (peer) => peer.send(naiveMessage(listed(0), 0)),
    ],
    [
      "says that it cannot go on",
      "interrupted",
      (peer) =>
        peer.send(naiveMessage({ type: "error", code: "interrupted", retryAfterMs: 0, message: "bye" }, 0)),
    ],
    ["ends between two frames", "closed", (peer) => peer.end()],
    [
      "ends inside a frame",
      "closed",
      (peer) => {
        peer.send(fileAnswer(1, "x").subarray(0, 30));
        peer.end();
      },
    ],
    ["resets the connection", "closed", (peer) => peer.terminate()],
  ] as [string, string, (peer: RawPeer) => void][])(
    "and %s fails all that is asked for with %s",
    async (_, code, act) => {
      const [first, second, client] = await pendingFetchAgainst((peer) => act(peer));
      expect([first, second]).toEqual([code, code]);
      expect(client.isOpen).toBe(false);
      expect(client.closedBy?.code).toBe(code as DrayError["code"]);
      expect(await rejectionCodeOf(client.fetch(request("z"), new Receiver()))).toBe(code);
    },
  );

  test("answers of the wrong kind fail their request only, and END is not read as another file's", async () => {
    const server = serve((peer, frame) => {
      if (frame.type === FETCH && frame.requestId === 1) peer.send(naiveMessage(listed(0), 1));
      else if (frame.type === FETCH) peer.send(fileAnswer(frame.requestId, "ok"));
    });
    const client = await connect(server);
    expect(await rejectionCodeOf(client.fetch(request("x"), new Receiver()))).toBe("protocol");
    expect(await rejectionCodeOf(client.fetch(request("y"), new Receiver()))).toBe("no error");
  });

  test("is told once, after all requests have failed", async () => {
    const server = serve((peer) => peer.terminate());
    const client = await connect(server);
    const order: string[] = [];
    const closed = Promise.withResolvers<void>();
    client.onClosed = () => {
      order.push("closed");
      closed.resolve();
    };
    await rejectionCodeOf(client.fetch(request("x"), new Receiver()));
    await closed.promise;
    client.close();
    expect(order).toEqual(["closed"]);
  });

  test("does not make us wait for ever: its time to wait is taken for minutes at most", async () => {
    const server = serve((peer, frame) => {
      const error = { type: "error", code: "changed", retryAfterMs: 0xffff_ffff, message: "wait" } as const;
      peer.send(naiveMessage(error, frame.requestId));
    });
    const client = await connect(server);
    const error = await rejectionOf(client.fetch(request("x"), new Receiver()));
    expect(error!.retryAfterMs).toBeLessThanOrEqual(10 * 60_000);
  });

  test("has its words cut and made presentable", async () => {
    const server = serve((peer, frame) => {
      const message = `${"x".repeat(299)}🛒${"y".repeat(5000)}`;
      peer.send(naiveMessage({ type: "error", code: "refused", retryAfterMs: 0, message }, frame.requestId));
    });
    const client = await connect(server);
    const error = await rejectionOf(client.fetch(request("x"), new Receiver()));
    expect(error!.message.length).toBeLessThanOrEqual(300);
    expect(error!.message.isWellFormed()).toBe(true);
  });
});

describe("connecting", () => {
  test.each([
    ["refuses with a reason", "busy", { type: "error", code: "busy", retryAfterMs: 500, message: "full" }],
    ["speaks another version", "protocol", { ...WELCOME, version: 2 }],
    ["answers with something else", "protocol", listed(0)],
  ] as [string, string, Message][])("to a server that %s fails with %s", async (_, code, message) => {
    const server = serve(() => {}, message);
    const error = await rejectionOf(connect(server));
    expect(error!.code).toBe(code as DrayError["code"]);
    if (code === "busy") expect(error!.retryAfterMs).toBe(500);
  });

  test("to something that is no dray server fails with protocol", async () => {
    const server = fakeServer(() => {});
    cleanUp.push(() => server[Symbol.dispose]());
    const connecting = rejectionCodeOf(connect(server));
    while (server.peers.length === 0) await new Promise((resolve) => setImmediate(resolve));
    server.peers[0]!.send(Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    expect(await connecting).toBe("protocol");
  });

  test("to a server that accepts and says nothing times out", async () => {
    const server = fakeServer(() => {});
    cleanUp.push(() => server[Symbol.dispose]());
    expect(await rejectionCodeOf(connect(server, 100))).toBe("timeout");
  });

  test("to a port where nobody listens fails with unreachable", async () => {
    const server = fakeServer(() => {});
    server[Symbol.dispose]();
    expect(await rejectionCodeOf(connect(server))).toBe("unreachable");
  });

  test("says what the server does not offer", async () => {
    const server = serve(() => {}, { ...WELCOME, capabilities: 1 });
    const client = await connect(server);
    client.require(1, "files");
    expect(() => client.require(2, "mirroring")).toThrow(/does not offer mirroring/);
  });
});

test("a PING of the server is answered in the middle of an answer", async () => {
  const server = serve((peer, frame) => {
    if (frame.type !== FETCH) return;
    const answer = fileAnswer(frame.requestId, "x");
    peer.send(answer.subarray(0, 50), naiveFrame(PING, 0, new Uint8Array(0)), answer.subarray(50));
  });
  const client = await connect(server);
  expect(await rejectionCodeOf(client.fetch(request("x"), new Receiver()))).toBe("no error");
  const peer = server.peers[0]!;
  await peer.until(() => (peer.frames.some(({ type }) => type === 5) ? true : undefined), "PONG");
});

test("a client that is kept busy by an answer shows that it is alive all the same", async () => {
  const server = serve(() => {});
  const client = await connect(server);
  const peer = server.peers[0]!;
  const fetching = rejectionCodeOf(client.fetch(request("x"), new Receiver()));
  await peer.until(() => (peer.frames.some(({ type }) => type === FETCH) ? true : undefined), "FETCH");
  const now = performance.now.bind(performance);
  using clock = spyOn(performance, "now").mockImplementation(() => now() + 11_000);
  expect(clock).toBeDefined();
  // The server says something now and then: it is not the client that is unsure.
  const answer = fileAnswer(1, "x");
  peer.send(answer.subarray(0, 50));
  await peer.until(() => (peer.frames.some(({ type }) => type === PING) ? true : undefined), "PING", 5_000);
  peer.send(answer.subarray(50));
  expect(await fetching).toBe("no error");
});

test("closing fails what is under way with the given reason and sends the server an orderly end", async () => {
  const server = serve(() => {});
  const client = await connect(server);
  const fetching = rejectionCodeOf(client.fetch(request("x"), new Receiver()));
  client.close();
  expect(await fetching).toBe("interrupted");
  await server.peers[0]!.ended();
  const idle = await connect(server);
  idle.close();
  await server.peers[1]!.until(() => (server.peers[1]!.isEnded ? true : undefined), "the orderly end");
});
