import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { FetchReply, type FileHead, type FileReceiver } from "../../src/transfer/fetch-reply.ts";
import { DigestChain, type DigestKind, digestBytes, writeDigest } from "../../src/wire/digest.ts";
import { type Message, TO_END } from "../../src/wire/messages.ts";
import { arbitraryMessage } from "./arbitrary-messages.ts";
import { runs } from "./runs.ts";

function dataOf(kind: DigestKind, piece: Uint8Array): Extract<Message, { type: "data" }> {
  const payload = new Uint8Array(digestBytes(kind) + piece.length);
  payload.set(piece, digestBytes(kind));
  writeDigest(kind, piece, payload, 0);
  return { type: "data", payload };
}

function chainOf(kind: DigestKind, pieces: readonly Uint8Array[]): Uint8Array {
  const chain = new DigestChain(kind);
  for (const piece of pieces) chain.add(dataOf(kind, piece).payload.subarray(0, digestBytes(kind)));
  return chain.value.slice();
}

/** The answer to a FETCH of everything, as it should be. */
function goodAnswer(kind: DigestKind, contents: Uint8Array, pieceBytes: number): Message[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < contents.length; at += pieceBytes) pieces.push(contents.slice(at, at + pieceBytes));
  const { length } = contents;
  return [
    { type: "file", size: length, mtimeUs: 1, mode: 0o644, offset: 0, length },
    ...pieces.map((piece) => dataOf(kind, piece)),
    { type: "end", length, chain: chainOf(kind, pieces) },
  ];
}

/** Keeps what it is told, in order. */
class Recorder implements FileReceiver {
  readonly heads: FileHead[] = [];
  readonly calls: string[] = [];
  bytes: Buffer = Buffer.alloc(0);
  chain: Uint8Array | undefined;
  completed = 0;

  head(head: FileHead): void {
    this.heads.push(head);
    this.calls.push("head");
  }
  piece(bytes: Uint8Array): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
    this.calls.push("piece");
  }
  complete(chain: Uint8Array): void {
    this.chain = chain.slice();
    this.completed++;
    this.calls.push("complete");
  }
}

interface Result {
  receiver: Recorder;
  isComplete: boolean;
  error: unknown;
  takenMessages: number;
}

/** Feeds messages until the reply is complete or throws, as the client does. */
function play(kind: DigestKind, messages: readonly Message[]): Result {
  const receiver = new Recorder();
  const reply = new FetchReply(kind, { offset: 0, length: TO_END }, receiver);
  let takenMessages = 0;
  try {
    for (const message of messages) {
      takenMessages++;
      if (reply.take(message)) return { receiver, isComplete: true, error: undefined, takenMessages };
    }
    return { receiver, isComplete: false, error: undefined, takenMessages };
  } catch (error) {
    return { receiver, isComplete: false, error, takenMessages };
  }
}

const kind = fc.constantFrom<DigestKind[]>("xxh3", "sha256");
const contents = fc.uint8Array({ maxLength: 200 });
const pieceBytes = fc.integer({ min: 1, max: 60 });

describe("the answer to a FETCH", () => {
  test("as it should be gives head, the pieces in order, and complete, once", () => {
    fc.assert(
      fc.property(kind, contents, pieceBytes, (kind, contents, pieceBytes) => {
        const messages = goodAnswer(kind, contents, pieceBytes);
        const { receiver, isComplete, takenMessages } = play(kind, messages);
        expect(isComplete).toBe(true);
        expect(takenMessages).toBe(messages.length);
        const { length } = contents;
        expect(receiver.heads).toEqual([
          { sizeBytes: length, mtimeUs: 1, mode: 0o644, offset: 0, lengthBytes: length },
        ]);
        expect(Buffer.compare(receiver.bytes, contents)).toBe(0);
        expect(receiver.calls.indexOf("complete")).toBe(receiver.calls.length - 1);
        const end = messages.at(-1);
        expect(end?.type === "end" && Buffer.compare(end.chain, receiver.chain!)).toBe(0);
      }),
      runs(300),
    );
  });

  test("with any messages lost, doubled, swapped or slipped in is never complete", () => {
    const change = fc.record({
      how: fc.constantFrom("lose", "double", "swap", "slip in"),
      at: fc.nat(),
      to: fc.nat(),
    });
    fc.assert(
      fc.property(
        kind,
        contents,
        pieceBytes,
        change,
        arbitraryMessage,
        (kind, contents, pieceBytes, change, odd) => {
          const good = goodAnswer(kind, contents, pieceBytes);
          const messages = [...good];
          const [at, to] = [change.at % good.length, change.to % good.length];
          if (change.how === "lose") messages.splice(at, 1);
          else if (change.how === "double") messages.splice(to, 0, good[at]!);
          else if (change.how === "slip in") messages.splice(at, 0, odd);
          else [messages[at], messages[to]] = [messages[to]!, messages[at]!];
          const { receiver, isComplete, error } = play(kind, messages);
          // Two equal pieces may be swapped or the last message come twice: then it is the same answer.
          const isSame = good.every((message, index) => Bun.deepEquals(message, messages[index]));
          expect(isComplete).toBe(isSame);
          expect(receiver.completed).toBe(isSame ? 1 : 0);
          if (error !== undefined) expect(["protocol", "integrity"]).toContain((error as DrayError).code);
        },
      ),
      runs(1500),
    );
  });

  test("made of any messages throws what blames the peer, or waits for more", () => {
    fc.assert(
      fc.property(kind, fc.array(arbitraryMessage, { maxLength: 10 }), (kind, messages) => {
        const { receiver, isComplete, error } = play(kind, messages);
        // An empty file needs no luck: FILE and END with zeros.
        if (isComplete) expect(receiver.heads[0]?.lengthBytes).toBe(0);
        if (error === undefined) return;
        expect(error).toBeInstanceOf(DrayError);
        expect(["protocol", "integrity"]).toContain((error as DrayError).code);
        expect(receiver.completed).toBe(0);
      }),
      runs(1000),
    );
  });

  test("never hands a flipped bit on, wherever it is", () => {
    fc.assert(
      fc.property(
        kind,
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        pieceBytes,
        fc.nat(),
        (kind, contents, pieceBytes, bit) => {
          const messages = goodAnswer(kind, contents, pieceBytes);
          const damageable = messages.map((message) =>
            message.type === "data"
              ? message.payload
              : message.type === "end"
                ? message.chain
                : new Uint8Array(0),
          );
          let at = bit % (damageable.reduce((sum, bytes) => sum + bytes.length, 0) * 8);
          for (const bytes of damageable) {
            if (at >= 0 && at < bytes.length * 8) bytes[at >> 3]! ^= 1 << (at & 7);
            at -= bytes.length * 8;
          }
          const { receiver, error } = play(kind, messages);
          expect((error as DrayError).code).toBe("integrity");
          expect(receiver.completed).toBe(0);
          expect(Buffer.compare(receiver.bytes, contents.subarray(0, receiver.bytes.length))).toBe(0);
        },
      ),
      runs(600),
    );
  });

  test("with a wrong number in FILE or END is never complete", () => {
    const delta = fc.integer({ min: -300, max: 300 }).filter((delta) => delta !== 0);
    fc.assert(
      fc.property(
        kind,
        contents,
        pieceBytes,
        delta,
        fc.boolean(),
        (kind, contents, pieceBytes, delta, inEnd) => {
          const messages = goodAnswer(kind, contents, pieceBytes).map((message): Message => {
            const length = Math.max(0, contents.length + delta);
            if (message.type === "end" && inEnd) return { ...message, length };
            return message.type === "file" && !inEnd ? { ...message, length, size: length } : message;
          });
          if (contents.length + delta <= 0 && contents.length === 0) return;
          const { receiver, isComplete } = play(kind, messages);
          // Nobody is given more than was announced, not even before the end shows that it was wrong.
          if (!inEnd) expect(receiver.bytes.length).toBeLessThanOrEqual(Math.max(0, contents.length + delta));
          expect(isComplete).toBe(false);
          expect(receiver.completed).toBe(0);
        },
      ),
      runs(500),
    );
  });

  test("with digests of the other kind is never complete", () => {
    for (const [asked, sent] of [
      ["xxh3", "sha256"],
      ["sha256", "xxh3"],
    ] as const) {
      const { receiver, error } = play(asked, goodAnswer(sent, new Uint8Array(100).fill(1), 30));
      expect(error).toBeInstanceOf(DrayError);
      expect(receiver.bytes.length).toBe(0);
    }
  });

  test("is the range that was asked for, cut to the file, and no other one is taken", () => {
    const around = fc.integer({ min: 0, max: 120 });
    fc.assert(
      fc.property(
        around,
        around,
        around,
        around,
        around,
        (size, askedOffset, askedLength, offset, length) => {
          const receiver = new Recorder();
          const reply = new FetchReply("xxh3", { offset: askedOffset, length: askedLength }, receiver);
          const rightOffset = Math.min(askedOffset, size);
          const rightLength = Math.min(askedLength, size - rightOffset);
          const head = { type: "file", size, mtimeUs: 0, mode: 0 } as const;
          if (offset !== rightOffset || length !== rightLength) {
            const wrong = new FetchReply("xxh3", { offset: askedOffset, length: askedLength }, receiver);
            expect(() => wrong.take({ ...head, offset, length })).toThrow(DrayError);
          }
          expect(reply.take({ ...head, offset: rightOffset, length: rightLength })).toBe(false);
          expect(receiver.heads).toHaveLength(1);
        },
      ),
      runs(500),
    );
  });
});
