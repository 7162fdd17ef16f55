import { expect, test } from "bun:test";
import { Writable } from "node:stream";
import type { PutEvent, PutResult } from "../../src/report/put-events.ts";
import { exitCodeOfMany } from "../../src/report/put-exit-code.ts";
import { listedLine } from "../../src/report/listed-line.ts";
import { PutNotes, putProgressLine, putResultText } from "../../src/report/put-lines.ts";
import { createPutReport } from "../../src/report/put-report.ts";

const server = { host: "::1", port: 9, bytesTransferred: 2048, bytesResumed: 1024 };

const result: PutResult = {
  type: "result",
  files: 3,
  bytes: 3072,
  bytesTransferred: 2048,
  bytesResumed: 1024,
  skipped: 1,
  failed: 2,
  durationMs: 1000,
  servers: [{ ...server, status: "partial", files: 2, bytes: 3000, failed: 1 }],
  failures: [{ file: "a\nb", host: "::1", port: 9, code: "refused", message: "no\x1b[31m" }],
};

test("the result for people names each failure, harmlessly, and counts the rest", () => {
  expect(putResultText(result)).toBe(
    [
      "[::1]:9: partial, 2 of 3 files, 2.93 KiB",
      "2.00 KiB sent in 1.0 s, 2.00 KiB/s, 1.00 KiB were there already",
      "1 item skipped",
      "Failed:",
      String.raw`  "a\nb" to [::1]:9: no\x1b[31m`,
      "  … and 1 more (--json prints every one as it happens)",
      "",
    ].join("\n"),
  );
});

test("notes are told until there are too many of them", () => {
  const notes = new PutNotes();
  const failure = { type: "failure", file: "a", code: "refused", message: "no" } as const;
  const lines = Array.from({ length: 30 }, () => notes.of(failure)).filter((line) => line !== undefined);
  expect(lines[0]).toBe("Cannot put a: no");
  expect(lines).toHaveLength(21);
  expect(lines.at(-1)).toBe("More failures follow; from here on they are only counted");
  const retry = { type: "retry", host: "h", port: 1, file: "a", code: "closed", message: "gone" } as const;
  expect(notes.of({ ...retry, attempt: 1, attempts: 5 })).toBe(
    "Cannot put a to h:1: gone (trying again, 2 of 5)",
  );
});

const progress: PutEvent & { type: "progress" } = {
  type: "progress",
  durationMs: 1,
  files: 10,
  bytes: 10_240,
  servers: [
    { ...server, state: "transferring", files: 4, failed: 0 },
    { ...server, state: "done", files: 10, failed: 0 },
  ],
};

test("progress in a line counts all servers", () => {
  expect(putProgressLine(progress)).toBe("Progress: 14 of 20 files, 6.00 KiB of 20.0 KiB");
});

function reportInto(options: { json?: boolean; quiet?: boolean; isTTY?: boolean }): {
  say(...events: PutEvent[]): Promise<{ stdout: string; stderr: string }>;
} {
  const written = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof written): Writable =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        written[name] += String(chunk);
        done();
      },
    });
  const { json = false, quiet = false, isTTY = false } = options;
  const stderr = Object.assign(stream("stderr"), { isTTY, columns: 100, rows: 24 });
  const report = createPutReport({ json, quiet, stdout: stream("stdout"), stderr, into: ".", now: () => 0 });
  return {
    say: async (...events) => {
      for (const event of events) report.event(event);
      await report.close();
      return written;
    },
  };
}

test("JSON Lines hold every event; nothing is on stderr", async () => {
  const { stdout, stderr } = await reportInto({ json: true }).say(progress, result);
  expect(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([progress, result]);
  expect(stderr).toBe("");
});

test("a terminal gets bars, which are gone when the result is there; --quiet nothing", async () => {
  const shown = await reportInto({ isTTY: true }).say(progress, result);
  expect(shown.stderr).toContain("total");
  expect(shown.stderr).toContain("[::1]:9");
  expect(shown.stdout).toBe(putResultText(result));
  expect(await reportInto({ isTTY: true, quiet: true }).say(progress, result)).toEqual({
    stdout: "",
    stderr: "",
  });
});

test("the exit code is that of the trouble if there is nothing else", () => {
  expect(exitCodeOfMany(3, [])).toBe(0);
  expect(exitCodeOfMany(0, ["refused", "locked"])).toBe(6);
  expect(exitCodeOfMany(1, ["refused"])).toBe(3);
  expect(exitCodeOfMany(0, ["refused", "unreachable"])).toBe(3);
});

test("a listed line tells kind, size and time, and cannot steer a terminal", () => {
  const entry = { kind: "file", path: "x", size: 12, mtimeUs: 1e15, mode: 0o644, target: "" } as const;
  expect(listedLine(entry, "a\x1bb", false)).toBe("a\\x1bb\n");
  expect(listedLine(entry, "a", true)).toBe("           12 2001-09-09 01:46:40 a\n");
  expect(listedLine({ ...entry, kind: "directory" }, "d", true)).toBe(
    "            - 2001-09-09 01:46:40 d/\n",
  );
  expect(listedLine({ ...entry, kind: "symlink" }, "l", false)).toBe("l (symlink)\n");
  for (const mtimeUs of [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])
    expect(listedLine({ ...entry, mtimeUs }, "a", true)).toMatch(/ a\n$/);
});
