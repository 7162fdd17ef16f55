import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Hurt, orderBeside } from "../support/hostile-order.ts";
import type { FetchAsked, Script, ScriptedConnection } from "../support/scripted-source.ts";
import {
  chain,
  dataFrame,
  digest,
  endFrame,
  errorFrame,
  fileFrame,
  frame,
  FRAME,
  piecesOf,
  welcome,
} from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const PIECE_BYTES = 100_000;
const BAD = Buffer.from(Array.from({ length: 350_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
const PIECES = piecesOf(BAD, PIECE_BYTES);
const CHAIN = chain("xxh3", PIECES);
/** The bad one is asked for between good ones: what they had on the wire must not suffer. */
const FILES: Record<string, Buffer> = { "a-good": Buffer.from("a"), bad: BAD, "c-good": Buffer.from("c") };
const GOOD_NAMES = ["a-good", "c-good"];

type Answer = (connection: ScriptedConnection, asked: FetchAsked) => void;

/** An honest source, but for its answer to one file. */
function badFile(answer: Answer): Script {
  return {
    files: FILES,
    pieceBytes: PIECE_BYTES,
    fetch: (connection, asked) =>
      asked.path === "bad" ? answer(connection, asked) : connection.answerFetch(asked),
  };
}

/** The same, but only the first time. */
function badAtFirst(answer: Answer): Script {
  let isFirst = true;
  return badFile((connection, asked) => {
    if (!isFirst) return connection.answerFetch(asked);
    isFirst = false;
    answer(connection, asked);
  });
}

function data(id: number, ...indexes: number[]): Buffer[] {
  return indexes.map((index) => dataFrame(id, "xxh3", PIECES[index]!));
}

const HEAD = { size: BAD.length };

/** Answers that end the file, and leave the connection in order. */
const WRONG: Record<string, Answer> = {
  "a piece with a wrong digest": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      ...data(id, 0),
      dataFrame(id, "xxh3", PIECES[1]!, digest("xxh3", PIECES[0]!)),
      ...data(id, 2, 3),
      endFrame(id, BAD.length, CHAIN),
    ),
  "a piece with damaged bytes, under a chain that is right": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      ...data(id, 0),
      dataFrame(id, "xxh3", PIECES[0]!, digest("xxh3", PIECES[1]!)),
      ...data(id, 2, 3),
      endFrame(id, BAD.length, CHAIN),
    ),
  "a piece too few": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1, 2), endFrame(id, BAD.length, CHAIN)),
  "a piece too few, and END says so": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      ...data(id, 0, 1, 2),
      endFrame(id, 300_000, chain("xxh3", PIECES.slice(0, 3))),
    ),
  "no piece at all": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), endFrame(id, BAD.length, CHAIN)),
  "a piece too many": (connection, { id }) =>
    connection.send(
      fileFrame(id, { size: 300_000 }),
      ...data(id, 0, 1, 2, 3),
      endFrame(id, 300_000, chain("xxh3", PIECES.slice(0, 3))),
    ),
  "pieces in another order": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 1, 0, 2, 3), endFrame(id, BAD.length, CHAIN)),
  "a wrong chain": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      ...data(id, 0, 1, 2, 3),
      endFrame(id, BAD.length, Buffer.alloc(8, 1)),
    ),
  "a wrong length in END": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1, 2, 3), endFrame(id, BAD.length - 1, CHAIN)),
  "only a part of the file, from its start": (connection, { id }) =>
    connection.send(
      fileFrame(id, { ...HEAD, length: 300_000 }),
      ...data(id, 0, 1, 2),
      endFrame(id, 300_000, chain("xxh3", PIECES.slice(0, 3))),
    ),
  "only a part of the file, to its end": (connection, { id }) =>
    connection.send(
      fileFrame(id, { ...HEAD, offset: 100_000, length: 250_000 }),
      ...data(id, 1, 2, 3),
      endFrame(id, 250_000, chain("xxh3", PIECES.slice(1))),
    ),
  "DATA before FILE": (connection, { id }) =>
    connection.send(
      ...data(id, 0),
      fileFrame(id, HEAD),
      ...data(id, 1, 2, 3),
      endFrame(id, BAD.length, CHAIN),
    ),
  "END before FILE": (connection, { id }) => connection.send(endFrame(id, 0, Buffer.alloc(8))),
  "FILE twice": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      fileFrame(id, HEAD),
      ...data(id, 0, 1, 2, 3),
      endFrame(id, BAD.length, CHAIN),
    ),
  "an empty piece": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      dataFrame(id, "xxh3", new Uint8Array(0)),
      ...data(id, 0, 1, 2, 3),
      endFrame(id, BAD.length, CHAIN),
    ),
  "a digest of another kind": (connection, { id }) =>
    connection.send(
      fileFrame(id, HEAD),
      ...PIECES.map((piece) => dataFrame(id, "sha256", piece)),
      endFrame(id, BAD.length, chain("sha256", PIECES)),
    ),
  "an error after half of it: it changed": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1), errorFrame(id, 6, "the file changed")),
  "an error instead of the end: it changed": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1, 2, 3), errorFrame(id, 6, "the file changed")),
  "an error: not found": (connection, { id }) => connection.send(errorFrame(id, 4, "no such file")),
  "an error with an unknown number": (connection, { id }) =>
    connection.send(errorFrame(id, 999, "of tomorrow")),
};

/** Answers that also end the connection, or make it useless. */
const FATAL: Record<string, Answer> = {
  "an orderly end in the middle": (connection, { id }) => {
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1));
    connection.end();
  },
  "an end inside a frame": (connection, { id }) => {
    connection.send(fileFrame(id, HEAD), ...data(id, 0), data(id, 1)[0]!.subarray(0, 50_000));
    connection.end();
  },
  "a reset in the middle": (connection, { id }) => {
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1));
    connection.reset();
  },
  "a reset before the end": (connection, { id }) => {
    connection.send(fileFrame(id, HEAD), ...data(id, 0, 1, 2, 3));
    connection.reset();
  },
  "garbage in the middle": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0), Buffer.alloc(1000, "garbage ")),
  "zeros in the middle": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id, 0), Buffer.alloc(1000)),
  "a frame that claims 4 GiB": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), frame(FRAME.data, id, PIECES[0]!, 0xffff_ffff)),
  "a piece of more than 1 MiB": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), dataFrame(id, "xxh3", Buffer.alloc(1024 * 1024 + 1))),
  "a frame with a wrong check": (connection, { id }) => {
    const [first] = data(id, 0);
    first![20]! ^= 1;
    connection.send(fileFrame(id, HEAD), first!, ...data(id, 1, 2, 3), endFrame(id, BAD.length, CHAIN));
  },
  "a second welcome": (connection, { id }) => connection.send(fileFrame(id, HEAD), welcome()),
  "a piece for a request that was never made": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), ...data(id + 1000, 0)),
  "a piece for no request": (connection, { id }) => connection.send(fileFrame(id, HEAD), ...data(0, 0)),
  "a message that servers take": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), frame(FRAME.fetch, id, new Uint8Array(30))),
  "a FILE that is too short": (connection, { id }) =>
    connection.send(frame(FRAME.file, id, new Uint8Array(33))),
  "a negative size": (connection, { id }) => connection.send(fileFrame(id, { size: -1 })),
  "a size over 53 bits": (connection, { id }) => {
    const payload = Buffer.alloc(34);
    payload.writeBigInt64LE(2n ** 60n, 0);
    connection.send(frame(FRAME.file, id, payload));
  },
  "an error of the connection": (connection, { id }) =>
    connection.send(fileFrame(id, HEAD), errorFrame(0, 9, "go away")),
};

const ALL = Object.entries({ ...WRONG, ...FATAL });

function onlyGoodOnes({ given, status, failures, names }: Hurt): void {
  expect(given.code).toBe(3);
  expect(status).toBe("partial");
  expect(failures.map(({ path }) => path)).toEqual(["bad"]);
  expect(names).toEqual(GOOD_NAMES);
}

describe("a file that always comes wrong is a failure, and nothing else is", () => {
  test.each(ALL)("%s", async (_, answer) => {
    await orderBeside(badFile(answer), onlyGoodOnes);
  });
});

/** What can be an accident is tried again; what somebody must have meant is not. */
const NOT_RETRIED = new Set([
  "only a part of the file, from its start",
  "only a part of the file, to its end",
  "DATA before FILE",
  "END before FILE",
  "FILE twice",
  "an empty piece",
  "an error: not found",
  "an error with an unknown number",
  "an error of the connection",
]);

describe("a file that comes wrong once is asked for again", () => {
  test.each(ALL.filter(([what]) => !NOT_RETRIED.has(what)))("%s", async (_, answer) => {
    await orderBeside(badAtFirst(answer), async ({ given, status, names, parts, read }) => {
      expect({ code: given.code, status }).toEqual({ code: 0, status: "complete" });
      expect({ names, parts }).toEqual({ names: ["a-good", "bad", "c-good"], parts: [] });
      expect((await read("bad")).equals(BAD)).toBe(true);
    });
  });
});

describe("what a file is, is taken from its transfer", () => {
  test("a size, time and mode that differ from the list", async () => {
    const now = Buffer.from("rewritten since it was listed");
    const script = badFile((connection, { id }) =>
      connection.send(
        fileFrame(id, { size: now.length, mtimeUs: -1_500_000_000_000_001, mode: 0o177777 }),
        dataFrame(id, "xxh3", now),
        endFrame(id, now.length, chain("xxh3", [now])),
      ),
    );
    await orderBeside(script, async ({ status, source, read }) => {
      expect(status).toBe("complete");
      expect(source.bytes).toBe(2 + now.length);
      expect((await read("bad")).equals(now)).toBe(true);
    });
  });

  test.each([2 ** 53 - 1, -(2 ** 53 - 1)])("a time of %d microseconds does no harm", async (mtimeUs) => {
    const script = badFile((connection, { id }) =>
      connection.send(
        fileFrame(id, { size: 1, mtimeUs }),
        dataFrame(id, "xxh3", Buffer.from("x")),
        endFrame(id, 1, chain("xxh3", [Buffer.from("x")])),
      ),
    );
    await orderBeside(script, ({ failures, names }) => {
      expect(names.length + failures.length).toBe(3);
    });
  });

  test("pieces of any size, read back with --verify-written", async () => {
    for (const pieceBytes of [1, 1000, 1024 * 1024]) {
      const bytes = Buffer.alloc(pieceBytes * 5 - 1, "verified");
      const script: Script = { files: { file: bytes }, pieceBytes };
      const check = async ({ given, read }: Hurt): Promise<void> => {
        expect(given.code).toBe(0);
        expect((await read("file")).equals(bytes)).toBe(true);
      };
      await orderBeside(script, check, { flags: ["--verify-written"] });
    }
  });
});

describe("what a source says of its failures", () => {
  test("is passed on, and cannot make the result too large to be sent", async () => {
    const long = "\u0001very long ".repeat(1000);
    const files = Object.fromEntries(
      Array.from({ length: 1500 }, (_, index) => [`${"d".repeat(200)}/`.repeat(15) + index, BAD]),
    );
    const script: Script = { files, fetch: (connection, { id }) => connection.send(errorFrame(id, 9, long)) };
    await orderBeside(script, ({ given, status, source }) => {
      expect(given.code).toBe(3);
      expect(given.result.failed).toBe(1500);
      expect({ status, files: source.files }).toEqual({ status: "partial", files: 0 });
      expect(given.result.failures.length).toBeGreaterThan(0);
      expect(given.result.failures[0]!.message).toStartWith("\u0001very long");
    });
  });
});
