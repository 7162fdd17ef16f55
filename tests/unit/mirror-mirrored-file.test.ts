import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { factsAt } from "../../src/disk/file-facts.ts";
import type { JobItem, LaneSettings } from "../../src/mirror/job.ts";
import { MirroredFile, isUnchanged } from "../../src/mirror/mirrored-file.ts";
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

  test("is not taken in parts", () => {
    const file = new MirroredFile(root, ["h_1", "file"], settings(), () => {});
    const head = { sizeBytes: 10, mtimeUs: 0, mode: 0, offset: 0, lengthBytes: 5 };
    expect(codeOf(() => file.head(head))).toBe("protocol");
    expect(codeOf(() => file.head({ ...head, offset: 5 }))).toBe("protocol");
    file.abandon();
    expect(all()).toEqual([]);
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
  const item: JobItem = { kind: "file", path: "docs/a", sizeBytes: 3, mtimeUs: MTIME_US, mode: 0o644 };
  const place = ["h_1", "docs", "a"];

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
    expect(isUnchanged(root, place, { ...item, ...changes }, undefined)).toBe(isSame);
  });

  test("is not trusted when its writes may have been lost in a crash", () => {
    const ctimeMs = fs.statSync(folder.join("h_1/docs/a")).ctimeMs;
    const around = (fromMs: number, untilMs: number) => isUnchanged(root, place, item, { fromMs, untilMs });
    expect(around(0, ctimeMs + 1000)).toBe(false);
    expect(around(ctimeMs - 1, ctimeMs + 1)).toBe(false);
    expect(around(ctimeMs, ctimeMs)).toBe(false);
    expect(around(0, ctimeMs - 1)).toBe(true);
    expect(around(ctimeMs + 1, ctimeMs + 1000)).toBe(true);
  });

  test("but under another kind of thing, or not at all, has to be fetched", () => {
    expect(isUnchanged(root, ["h_1", "docs", "missing"], item, undefined)).toBe(false);
    expect(isUnchanged(root, ["h_2", "docs", "a"], item, undefined)).toBe(false);
    expect(isUnchanged(root, ["h_1", "docs"], item, undefined)).toBe(false);
    fs.symlinkSync("a", folder.join("h_1/docs/link"));
    expect(isUnchanged(root, ["h_1", "docs", "link"], item, undefined)).toBe(false);
  });

  test("behind a link is an error, not a file of ours", () => {
    fs.symlinkSync("docs", folder.join("h_1/link"));
    expect(codeOf(() => isUnchanged(root, ["h_1", "link", "a"], item, undefined))).toBe("refused");
  });
});
