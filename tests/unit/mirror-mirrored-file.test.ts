import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { factsAt } from "../../src/disk/file-facts.ts";
import type { DistrustedSpan, FetchReason, JobItem, LaneSettings } from "../../src/mirror/job.ts";
import { factsHere, reasonToFetch } from "../../src/mirror/local-copy.ts";
import { MirroredFile } from "../../src/mirror/mirrored-file.ts";
import { FetchReply } from "../../src/transfer/fetch-reply.ts";
import { TO_END, decodeMessage } from "../../src/wire/messages.ts";
import { codeOf } from "../property/error-code.ts";
import { naiveFileAnswer, naiveFrames } from "../property/naive-codec.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let folder: TempFolder;
let root: ContainedRoot;

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
});
afterEach(() => {
  root.close();
  folder[Symbol.dispose]();
});

const settings = (changes: Partial<LaneSettings> = {}): LaneSettings => ({
  mirrorDirectory: folder.path,
  agent: "test/1",
  digest: "xxh3",
  isStrict: false,
  verifyWritten: false,
  distrusted: undefined,
  ...changes,
});

const contents = new Uint8Array(700_001).map((_, index) => index * 7);
const all = (): string[] => (fs.readdirSync(folder.path, { recursive: true }) as string[]).sort();

/** Takes an answer, up to so many messages. */
function receive(file: MirroredFile, answer: Buffer, messages = Number.POSITIVE_INFINITY): void {
  const reply = new FetchReply("xxh3", { offset: 0, length: TO_END }, file);
  for (const [index, { type, payload }] of naiveFrames(answer).frames.entries()) {
    if (index < messages) reply.take(decodeMessage(type, payload));
  }
}

describe("a file on its way into the mirror", () => {
  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])(
    "is published whole with its time and its execute bit (read back: %p, strict: %p)",
    (verifyWritten, isStrict) => {
      for (const pieceBytes of [1000, 100_000, 262_144, 1_048_576]) {
        let received = 0;
        const file = new MirroredFile(
          root,
          ["h_1", "docs", "tool"],
          settings({ verifyWritten, isStrict }),
          (bytes) => {
            received += bytes;
          },
        );
        receive(
          file,
          naiveFileAnswer(1, contents, { pieceBytes, mtimeUs: 1_234_567_890_123_456, mode: 0o755 }),
        );
        expect(Buffer.compare(fs.readFileSync(folder.join("h_1/docs/tool")), contents)).toBe(0);
        const facts = factsAt(folder.join("h_1/docs/tool"))!;
        expect(Math.abs(facts.mtimeUs - 1_234_567_890_123_456)).toBeLessThanOrEqual(1);
        expect(facts.mode & 0o100).toBe(0o100);
        expect([received, file.sizeBytes]).toEqual([contents.length, contents.length]);
        expect(all()).toEqual(["h_1", "h_1/docs", "h_1/docs/tool"]);
      }
    },
  );

  test("of no bytes is published, too", () => {
    const file = new MirroredFile(root, ["h_1", "empty"], settings({ verifyWritten: true }), () => {});
    receive(file, naiveFileAnswer(1, new Uint8Array(0)));
    expect(fs.statSync(folder.join("h_1/empty")).size).toBe(0);
  });

  test("leaves nothing under its name when it is given up, at whatever point", () => {
    const messages = naiveFrames(naiveFileAnswer(1, contents, { pieceBytes: 100_000 })).frames.length;
    fs.mkdirSync(folder.join("h_1"));
    fs.writeFileSync(folder.join("h_1/file"), "the old one");
    for (let until = 0; until < messages; until++) {
      const file = new MirroredFile(root, ["h_1", "file"], settings(), () => {});
      receive(file, naiveFileAnswer(1, contents, { pieceBytes: 100_000 }), until);
      expect(fs.readFileSync(folder.join("h_1/file"), "utf8")).toBe("the old one");
      file.abandon();
      file.abandon();
      expect(all()).toEqual(["h_1", "h_1/file"]);
    }
  });

  test.each([true, false])(
    "comes in parts, each where the last one ended, and is visible after the last one (read back: %p)",
    (verifyWritten) => {
      const bytes = Buffer.from("0123456789");
      const file = new MirroredFile(root, ["h_1", "file"], settings({ verifyWritten }), () => {});
      const head = { sizeBytes: 10, mtimeUs: 0, mode: 0, offset: 0, lengthBytes: 4 };
      expect(codeOf(() => file.head({ ...head, offset: 4 }))).toBe("protocol");
      for (const [offset, lengthBytes] of [
        [0, 4],
        [4, 1],
        [5, 5],
      ] as const) {
        expect(file.isComplete).toBe(false);
        expect(fs.existsSync(folder.join("h_1/file"))).toBe(false);
        expect(file.writtenBytes).toBe(offset);
        file.head({ ...head, offset, lengthBytes });
        file.piece(bytes.subarray(offset, offset + lengthBytes));
        file.complete(new Uint8Array(8), lengthBytes);
      }
      expect(file.isComplete).toBe(true);
      expect(fs.readFileSync(folder.join("h_1/file"), "utf8")).toBe("0123456789");
    },
  );

  test("in parts never mixes two versions", () => {
    const file = new MirroredFile(root, ["h_1", "file"], settings(), () => {});
    const head = { sizeBytes: 10, mtimeUs: 0, mode: 0, offset: 0, lengthBytes: 5 };
    file.head(head);
    file.piece(Buffer.from("01234"));
    file.complete(new Uint8Array(8), 5);
    const next = { ...head, offset: 5 };
    expect(codeOf(() => file.head(head))).toBe("protocol");
    expect(codeOf(() => file.head({ ...next, mtimeUs: 1 }))).toBe("changed");
    expect(codeOf(() => file.head({ ...next, sizeBytes: 11 }))).toBe("changed");
    file.abandon();
    expect(all()).toEqual(["h_1"]);
  });

  test("begins anew when it is broken off and is to be read back", () => {
    const file = new MirroredFile(root, ["h_1", "file"], settings({ verifyWritten: true }), () => {});
    const head = { sizeBytes: 10, mtimeUs: 0, mode: 0, offset: 0, lengthBytes: 10 };
    file.head(head);
    file.piece(Buffer.from("01234"));
    file.brokenOff();
    expect(file.writtenBytes).toBe(0);
    for (const offset of [0, 5]) {
      file.head({ ...head, offset, lengthBytes: 5 });
      file.piece(Buffer.from("abcdefghij").subarray(offset, offset + 5));
      file.complete(new Uint8Array(8), 5);
    }
    expect(fs.readFileSync(folder.join("h_1/file"), "utf8")).toBe("abcdefghij");
  });

  test("does not go through a link or a file that is in its way", () => {
    using outside = tempFolder();
    fs.mkdirSync(folder.join("h_1"));
    fs.symlinkSync(outside.path, folder.join("h_1/link"));
    fs.writeFileSync(folder.join("h_1/file"), "");
    for (const components of [
      ["h_1", "link", "x"],
      ["h_1", "file", "x"],
      ["h_1", "link", "deep", "x"],
    ]) {
      const file = new MirroredFile(root, components, settings(), () => {});
      expect(codeOf(() => receive(file, naiveFileAnswer(1, contents)))).toBe("refused");
      file.abandon();
    }
    expect(fs.readdirSync(outside.path)).toEqual([]);
  });

  test("costs no descriptor, published or given up", () => {
    const before = fs.readdirSync("/proc/self/fd").length;
    const other = new ContainedRoot(folder.path);
    for (let round = 0; round < 10; round++) {
      const file = new MirroredFile(other, ["h_1", `d${round}`, "file"], settings(), () => {});
      receive(file, naiveFileAnswer(1, contents), round % 2 === 0 ? 2 : 99);
      if (round % 2 === 0) file.abandon();
    }
    other.close();
    expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
  });
});

describe("a file that is already there", () => {
  const MTIME_US = 1_600_000_000_000_010;
  const item: JobItem = {
    kind: "file",
    path: "docs/a",
    sizeBytes: 3,
    mtimeUs: MTIME_US,
    mode: 0o644,
    target: "",
  };
  const place = ["h_1", "docs", "a"];
  const reasonFor = (components: string[], wanted: JobItem, span?: DistrustedSpan): FetchReason | undefined =>
    reasonToFetch(factsHere(root, components), wanted, span);

  beforeEach(() => {
    fs.mkdirSync(folder.join("h_1/docs"), { recursive: true });
    fs.writeFileSync(folder.join("h_1/docs/a"), "abc");
    fs.utimesSync(folder.join("h_1/docs/a"), MTIME_US / 1e6, MTIME_US / 1e6);
  });

  test.each([
    ["is the same", {}, true],
    ["differs in nothing but permission bits that are not kept", { mode: 0o600 }, true],
    ["has another size", { sizeBytes: 4 }, false],
    ["is a microsecond off, as a double rounds", { mtimeUs: MTIME_US + 1 }, true],
    ["is two microseconds younger", { mtimeUs: MTIME_US + 3 }, false],
    ["is older", { mtimeUs: MTIME_US - 1_000_000 }, false],
    ["has become executable", { mode: 0o744 }, false],
  ] as [string, Partial<JobItem>, boolean][])("and %s", (_, changes, isSame) => {
    expect(reasonFor(place, { ...item, ...changes })).toBe(isSame ? undefined : "changed");
  });

  test("is not trusted when its writes may have been lost in a crash", () => {
    const ctimeMs = fs.statSync(folder.join("h_1/docs/a")).ctimeMs;
    const around = (fromMs: number, untilMs: number) => reasonFor(place, item, { fromMs, untilMs });
    expect(around(0, ctimeMs + 1000)).toBe("changed");
    expect(around(ctimeMs - 1, ctimeMs + 1)).toBe("changed");
    expect(around(ctimeMs, ctimeMs)).toBe("changed");
    expect(around(0, ctimeMs - 1)).toBeUndefined();
    expect(around(ctimeMs + 1, ctimeMs + 1000)).toBeUndefined();
  });

  test("but under another kind of thing, or not at all, has to be fetched", () => {
    expect(reasonFor(["h_1", "docs", "missing"], item)).toBe("new");
    expect(reasonFor(["h_2", "docs", "a"], item)).toBe("new");
    expect(reasonFor(["h_1", "docs"], item)).toBe("new");
    fs.symlinkSync("a", folder.join("h_1/docs/link"));
    expect(reasonFor(["h_1", "docs", "link"], item)).toBe("changed");
  });

  test("behind a link is an error, not a file of ours", () => {
    fs.symlinkSync("docs", folder.join("h_1/link"));
    expect(codeOf(() => reasonFor(["h_1", "link", "a"], item))).toBe("refused");
  });
});
