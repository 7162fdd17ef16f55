import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { contentService } from "../../src/transfer/content-service.ts";
import { FetchReply } from "../../src/transfer/fetch-reply.ts";
import { Server } from "../../src/transfer/server.ts";
import { FrameDecoder } from "../../src/wire/frame.ts";
import {
  CLIENT_TAKES,
  SERVER_TAKES,
  TO_END,
  decodeMessage,
  encodeMessage,
  limitsFor,
} from "../../src/wire/messages.ts";
import { exampleStream } from "../support/protocol-document.ts";
import { tempFolder } from "../support/temp.ts";

test("the worked example decodes, and encodes to itself", () => {
  for (const side of ["client", "server"] as const) {
    const stream = exampleStream(side);
    const decoder = new FrameDecoder(limitsFor(side === "client" ? SERVER_TAKES : CLIENT_TAKES));
    const encoded: Uint8Array[] = [];
    decoder.push(stream, (type, requestId, payload) => {
      encoded.push(encodeMessage(decodeMessage(type, payload), requestId));
    });
    expect(decoder.pendingBytes).toBe(0);
    expect(Buffer.concat(encoded).toString("hex")).toBe(Buffer.from(stream).toString("hex"));
  }
});

test("the file of the worked example passes the checks of a client", () => {
  const pieces: string[] = [];
  let isComplete = false;
  const reply = new FetchReply(
    "xxh3",
    { offset: 0, length: TO_END },
    {
      head: () => {},
      piece: (bytes) => void pieces.push(Buffer.from(bytes).toString()),
      complete: () => {
        isComplete = true;
      },
    },
  );
  new FrameDecoder(limitsFor(CLIENT_TAKES)).push(exampleStream("server"), (type, requestId, payload) => {
    if (requestId === 2) reply.take(decodeMessage(type, payload));
  });
  expect({ pieces, isComplete }).toEqual({ pieces: ["Hello, dray!\n"], isComplete: true });
});

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());

test("a server really gives the answers of the worked example", async () => {
  mkdirSync(folder.join("docs"));
  chmodSync(folder.join("docs"), 0o755);
  writeFileSync(folder.join("docs/hello.txt"), "Hello, dray!\n");
  chmodSync(folder.join("docs/hello.txt"), 0o644);
  utimesSync(folder.join("docs/hello.txt"), 1_000_000_000.5, 1_000_000_000.5);
  utimesSync(folder.join("docs"), 1_000_000_000, 1_000_000_000);
  const root = new ContainedRoot(folder.path);
  const settings = { address: "127.0.0.1", port: 0, maxConnections: 1 };
  const server = new Server(settings, contentService(root, "dray/0.1.0"), {
    debug: () => {},
    warn: () => {},
  });
  const answer = await answerTo(exampleStream("client"), server);
  expect(Buffer.from(answer).toString("hex")).toBe(Buffer.from(exampleStream("server")).toString("hex"));
  await server.stop();
  root.close();
});

/** All that a server sends to somebody who says this, and then ends the sending side. */
async function answerTo(request: Uint8Array, { address, port }: Server): Promise<Uint8Array> {
  const received: Uint8Array[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: address,
    port,
    socket: {
      open: (socket) => {
        socket.write(request);
        socket.shutdown();
      },
      data: (_, chunk) => void received.push(new Uint8Array(chunk)),
      close: (_, error) => (error === undefined ? resolve() : reject(error)),
    },
  });
  await promise;
  return Buffer.concat(received);
}
