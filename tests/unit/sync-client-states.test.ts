import { describe, expect, test } from "bun:test";
import { AwaitedAnswers } from "../../src/sync/client/awaited-answers.ts";
import { conflictName, conflictOf } from "../../src/sync/client/conflict-name.ts";
import {
  DELETE_DESK_DEFAULTS,
  DeleteDesk,
  type DeleteSurroundings,
} from "../../src/sync/client/delete-desk.ts";
import { baseFor, decodeRecord, encodeRecord, recovered } from "../../src/sync/client/path-record.ts";
import type { Base, Local } from "../../src/sync/client/reconcile.ts";
import { ReceivedFile } from "../../src/sync/client/received-file.ts";
import { ReplySlots } from "../../src/sync/client/reply-slots.ts";
import { RequestDesk } from "../../src/sync/client/request-desk.ts";
import { PARALLEL_UPLOADS, UploadQueue } from "../../src/sync/client/upload-queue.ts";
import { UploadRun } from "../../src/sync/client/upload-run.ts";
import { ROOT_GUARD_DEFAULTS } from "../../src/sync/root-guard.ts";
import { SYNC_STATUS } from "../../src/wire/sync-messages.ts";

const { ok, badChecksum, badSize, checksumAbort, fileLocked } = SYNC_STATUS;

/** Sends all that can be sent; says what it was. */
function sendAll(run: UploadRun): string[] {
  const sent: string[] = [];
  for (let next = run.next(); next !== undefined; next = run.next()) {
    run.sent(next);
    sent.push(next.step === "chunk" ? `${next.offsetBytes}+${next.lengthBytes}` : next.step);
  }
  return sent;
}

describe("sending a file", () => {
  test("one chunk at a time to a server that is not ours", () => {
    const run = new UploadRun(10, 4, false);
    expect(sendAll(run)).toEqual(["0+4"]);
    run.chunkAnswered(4, ok);
    expect(sendAll(run)).toEqual(["4+4"]);
    run.chunkAnswered(4, ok);
    expect(sendAll(run)).toEqual(["8+2"]);
    run.chunkAnswered(2, ok);
    expect(sendAll(run)).toEqual(["close"]);
    expect(run.end).toBeUndefined();
    run.closeAnswered("none");
    expect(run.end).toBe("committed");
  });

  test("the same chunk again when its digest was wrong, until the server gives up", () => {
    const run = new UploadRun(8, 4, false);
    for (let time = 0; time < 2; time++) {
      expect(sendAll(run)).toEqual(["0+4"]);
      run.chunkAnswered(4, badChecksum);
    }
    expect(sendAll(run)).toEqual(["0+4"]);
    run.chunkAnswered(4, checksumAbort);
    expect(sendAll(run)).toEqual([]);
    expect(run.end).toBe("damaged");
  });

  test("a server that refuses a chunk for ever is left with an Abort", () => {
    const run = new UploadRun(4, 4, false);
    let sent: string[] = [];
    for (let time = 0; time < 9 && run.end === undefined; time++) {
      sent = sendAll(run);
      if (sent.at(-1) !== "abort") run.chunkAnswered(4, badSize);
    }
    expect(sent).toEqual(["abort"]);
    expect(run.end).toBe("damaged");
  });

  test("to a server of ours the Close follows the only chunk at once; what the chunk is refused for counts", () => {
    for (const [chunkCode, closeCode, end] of [
      [ok, ok, "committed"],
      [ok, fileLocked, "locked"],
      [ok, badChecksum, "again"],
      [fileLocked, fileLocked, "locked"],
      [badChecksum, badChecksum, "again"],
      [checksumAbort, fileLocked, "again"],
    ] as const) {
      const run = new UploadRun(4, 4, true);
      expect(sendAll(run)).toEqual(["0+4", "close"]);
      expect(run.stop()).toBe(false);
      run.chunkAnswered(4, chunkCode);
      expect(run.end).toBeUndefined();
      expect(sendAll(run)).toEqual([]);
      run.closeAnswered(closeCode);
      expect(run.end).toBe(end);
    }
    expect(sendAll(new UploadRun(5, 4, true))).toEqual(["0+4", "4+1"]);
  });

  test("locked: nothing more, no Close, no Abort", () => {
    const run = new UploadRun(8, 4, false);
    sendAll(run);
    run.chunkAnswered(4, fileLocked);
    expect(sendAll(run)).toEqual([]);
    expect(run.end).toBe("locked");
  });

  test("an empty file is an empty chunk and Close; a bare Close where that is refused", () => {
    const run = new UploadRun(0, 4, false);
    expect(sendAll(run)).toEqual(["0+0"]);
    run.chunkAnswered(0, badSize);
    expect(sendAll(run)).toEqual(["close"]);
    run.closeAnswered(ok);
    expect(run.end).toBe("committed");
  });

  test("many chunks on their way to our own server, Close only when all of them are confirmed", () => {
    const run = new UploadRun(10, 4, true);
    expect(sendAll(run)).toEqual(["0+4", "4+4", "8+2"]);
    run.chunkAnswered(4, ok);
    run.chunkAnswered(4, ok);
    expect(sendAll(run)).toEqual([]);
    run.chunkAnswered(2, ok);
    expect(sendAll(run)).toEqual(["close"]);
  });

  test("damage with others behind it: Abort at once, and all over again when the rest is answered", () => {
    const run = new UploadRun(12, 4, true);
    sendAll(run);
    run.chunkAnswered(4, badChecksum);
    expect(sendAll(run)).toEqual(["abort"]);
    expect(run.end).toBeUndefined();
    run.chunkAnswered(4, ok);
    run.chunkAnswered(4, badChecksum);
    expect(run.end).toBe("again");
  });

  test("a lock that comes free in the middle of a refused file is given back with Abort", () => {
    const run = new UploadRun(12, 4, true);
    sendAll(run);
    run.chunkAnswered(4, fileLocked);
    run.chunkAnswered(4, fileLocked);
    expect(sendAll(run)).toEqual([]);
    run.chunkAnswered(4, ok);
    expect(sendAll(run)).toEqual(["abort"]);
    expect(run.end).toBe("locked");
  });

  test("can be broken off until Close is sent", () => {
    const run = new UploadRun(4, 4, false);
    sendAll(run);
    run.chunkAnswered(4, ok);
    sendAll(run);
    expect(run.stop()).toBe(false);
    const other = new UploadRun(8, 4, false);
    sendAll(other);
    expect(other.stop()).toBe(true);
    expect(sendAll(other)).toEqual(["abort"]);
    other.chunkAnswered(4, ok);
    expect(other.end).toBe("stopped");
    const unsent = new UploadRun(8, 4, false);
    unsent.stop();
    expect(unsent.end).toBe("stopped");
  });
});

describe("answers", () => {
  const patience = { requiredMs: 60, optionalMs: 5 };

  test("belong to what was sent first; what is left over means nothing", () => {
    const answers = new AwaitedAnswers(patience);
    const seen: string[] = [];
    answers.add({ kind: "chunk", answered: (code) => seen.push(`chunk ${code}`) }, 0);
    answers.add({ kind: "delete", answered: (code) => seen.push(`delete ${code}`) }, 0);
    expect(answers.take(1, 1)).toBe(true);
    expect(answers.take(0x20, 2)).toBe(true);
    expect(answers.take(1, 3)).toBe(false);
    expect(seen).toEqual(["chunk 1", "delete 32"]);
  });

  test("a server that does not answer Close is waited for once", () => {
    const answers = new AwaitedAnswers(patience);
    const seen: (number | "none")[] = [];
    const close = { kind: "close", answered: (code: number | "none") => seen.push(code) } as const;
    answers.add(close, 0);
    expect(answers.expire(4)).toBe("fine");
    expect(seen).toEqual([]);
    expect(answers.expire(5)).toBe("fine");
    answers.add(close, 6);
    expect(seen).toEqual(["none", "none"]);
  });

  test("a chunk has to be answered, and everything by our own server", () => {
    const literal = new AwaitedAnswers(patience);
    literal.add({ kind: "chunk", answered: () => {} }, 0);
    expect(literal.expire(59)).toBe("fine");
    expect(literal.expire(60)).toBe("dead");
    const ours = new AwaitedAnswers(patience);
    ours.expectAll();
    ours.add({ kind: "request", answered: () => {} }, 0);
    ours.add({ kind: "close", answered: () => {} }, 0);
    expect(ours.expire(59)).toBe("fine");
    ours.take(1, 59);
    expect(ours.deadlineMs).toBe(119);
    expect(ours.expire(119)).toBe("dead");
  });

  test("go out in the order of the messages", () => {
    const sent: number[] = [];
    const slots = new ReplySlots(
      (code) => sent.push(code),
      () => {},
    );
    const [first, second, third] = [slots.reserve(), slots.reserve(), slots.reserve()];
    third(3);
    second("none");
    expect(sent).toEqual([]);
    first(1);
    expect(sent).toEqual([1, 3]);
    expect(slots.size).toBe(0);
  });
});

describe("receiving a file", () => {
  test("a bad chunk is cut off, the third one in a row ends it", () => {
    const file = new ReceivedFile();
    const first = file.begin();
    file.appended(4);
    expect(file.checked(first, 2, true)).toEqual({ keep: true, reply: ok });
    for (const reply of [badChecksum, badChecksum]) {
      const bad = file.begin();
      file.appended(3);
      expect(file.checked(bad, 2, false)).toEqual({ keep: false, reply, cutToBytes: 4 });
      expect(file.sizeBytes).toBe(4);
    }
    const last = file.begin();
    file.appended(3);
    expect(file.checked(last, 2, false)).toEqual({
      keep: false,
      reply: checksumAbort,
      cutToBytes: undefined,
    });
  });

  test("a good chunk makes the strikes forgotten", () => {
    const file = new ReceivedFile();
    for (let round = 0; round < 5; round++) {
      const bad = file.begin();
      file.appended(2);
      expect(file.checked(bad, 2, false).reply).toBe(badChecksum);
      const good = file.begin();
      file.appended(2);
      expect(file.checked(good, 2, true).reply).toBe(ok);
    }
    expect(file.sizeBytes).toBe(10);
  });

  test("a chunk of nothing makes sense only at the beginning", () => {
    const file = new ReceivedFile();
    expect(file.checked(file.begin(), 0, true).reply).toBe(ok);
    const first = file.begin();
    file.appended(4);
    expect(file.checked(first, 4, true).reply).toBe(ok);
    const replies = [1, 2, 3].map(() => file.checked(file.begin(), 0, true).reply);
    expect(replies).toEqual([badSize, badSize, SYNC_STATUS.sizeAbort]);
  });

  test("what was written behind a bad chunk is void, however good it is", () => {
    const file = new ReceivedFile();
    const bad = file.begin();
    file.appended(4);
    const behind = file.begin();
    file.appended(4);
    expect(file.checked(bad, 2, false)).toMatchObject({ cutToBytes: 0 });
    expect(file.isWanted(behind)).toBe(false);
    expect(file.checked(behind, 2, true)).toEqual({ keep: false, reply: badChecksum, cutToBytes: 0 });
  });
});

const BASE: Base = {
  md5: "a".repeat(32),
  sizeBytes: 3,
  mtimeNs: 10n,
  ctimeNs: 11n,
  inode: 12n,
  sequence: undefined,
};
const NEXT: Base = { ...BASE, md5: "b".repeat(32), inode: 13n, sequence: 4 };
const GONE: Local = { kind: "absent" };
const asLocal = ({ sizeBytes, mtimeNs, ctimeNs, inode }: Base): Local => ({
  kind: "file",
  md5: undefined,
  sizeBytes,
  mtimeNs,
  ctimeNs,
  inode,
});

describe("what a crash left", () => {
  test("survives being written down", () => {
    for (const intent of [
      undefined,
      { kind: "remove" },
      { kind: "publish", next: NEXT },
      { kind: "upload", sent: NEXT },
    ] as const) {
      for (const base of [undefined, BASE]) {
        const text = encodeRecord({ base, intent });
        expect(text === undefined ? { base, intent } : decodeRecord(text)).toEqual({ base, intent });
      }
    }
    expect(decodeRecord("{")).toBeUndefined();
    expect(decodeRecord(`{"base":[1,2]}`)).toEqual({ base: undefined, intent: undefined });
  });

  test("a publication counts when it is there, and is asked for again when nothing is", () => {
    const record = { base: BASE, intent: { kind: "publish", next: NEXT } } as const;
    const renamed = asLocal({ ...NEXT, ctimeNs: 99n });
    expect(recovered(record, renamed).base).toEqual({ ...NEXT, ctimeNs: 99n });
    expect(recovered(record, asLocal(BASE)).base).toEqual(BASE);
    expect(recovered(record, GONE)).toEqual({ base: undefined, intent: undefined });
  });

  test("a removal that was done is no delete of this user's", () => {
    const record = { base: BASE, intent: { kind: "remove" } } as const;
    expect(recovered(record, GONE)).toEqual({ base: undefined, intent: undefined });
    expect(recovered(record, asLocal(BASE))).toEqual({ base: BASE, intent: undefined });
  });

  test("an upload whose confirmation got lost counts as soon as the server shows it", () => {
    const record = { base: BASE, intent: { kind: "upload", sent: NEXT } } as const;
    const file = { kind: "file", md5: NEXT.md5, sizeBytes: 3, mtimeUs: 0, sequence: 9 } as const;
    expect(baseFor(record, file)).toEqual({ ...NEXT, sequence: 9 });
    expect(baseFor(record, { ...file, md5: BASE.md5 })).toEqual(BASE);
    expect(baseFor(record, { kind: "deleted", md5: NEXT.md5 })).toEqual(NEXT);
    expect(baseFor({ ...record, base: undefined }, { kind: "unlisted" })).toEqual(NEXT);
    expect(baseFor(record, { kind: "unlisted" })).toEqual(BASE);
  });
});

describe("conflict copies", () => {
  const at = Date.UTC(2026, 0, 31, 12, 5, 9);

  test("say when and where, and keep the extension", () => {
    expect(conflictName("docs/plan.txt", at, "anna.example", 1)).toBe(
      "docs/plan (conflict 2026-01-31 12.05.09 anna).txt",
    );
    expect(conflictName("a.tar.gz", at, "anna", 2)).toBe("a (conflict 2026-01-31 12.05.09 anna) 2.tar.gz");
    expect(conflictName(".profile", at, "", 1)).toBe(".profile (conflict 2026-01-31 12.05.09 unknown)");
  });

  test("of a conflict copy do not pile up their marks", () => {
    const once = conflictName("plan.txt", at, "anna", 1);
    expect(conflictName(once, at + 1000, "bert", 1)).toBe("plan (conflict 2026-01-31 12.05.10 bert).txt");
  });

  test("can be told from other files", () => {
    for (const name of ["docs/plan.txt", "a.tar.gz", "no extension", "ü".repeat(60)]) {
      expect(conflictOf(conflictName(name, at, "anna", 3))?.of).toBe(name);
    }
    expect(conflictOf("plan (conflict of interest).txt")).toBeUndefined();
  });

  test("of long names still fit", () => {
    const long = conflictName(`d/${"ü".repeat(125)}.txt`, at, "h".repeat(100), 12);
    expect(Buffer.byteLength(long.slice(2))).toBeLessThanOrEqual(255);
    expect(long.endsWith(".txt")).toBe(true);
    expect(long.isWellFormed()).toBe(true);
  });
});

describe("requests", () => {
  test("a limited number is on its way, and one that nothing comes of is made again", () => {
    const desk = new RequestDesk({ maxOutstanding: 2, patienceMs: 100 });
    for (const name of ["a", "b", "c", "a"]) desk.want(name);
    expect([desk.next(0), desk.next(10), desk.next(10)]).toEqual(["a", "b", undefined]);
    desk.progressed("a", 60);
    expect(desk.nextAtMs).toBe(110);
    desk.settle("b");
    expect(desk.next(60)).toBe("c");
    expect([desk.next(159), desk.next(160)]).toEqual([undefined, "a"]);
    desk.clear();
    expect(desk.size).toBe(0);
  });
});

describe("uploads", () => {
  test("small files do not wait behind large ones", () => {
    const queue = new UploadQueue();
    queue.limit(PARALLEL_UPLOADS);
    for (let number = 0; number < 10; number++) queue.add(`large ${number}`, 1e9);
    queue.add("small", 10);
    const begun: (string | undefined)[] = [];
    for (let next = queue.next(); next !== undefined; next = queue.next()) begun.push(next);
    expect(begun).toEqual(["large 0", "large 1", "large 2", "large 3", "small"]);
    queue.ended("large 1");
    expect(queue.next()).toBe("large 4");
    expect(queue.hasSize(10)).toBe(true);
    queue.ended("small");
    expect(queue.hasSize(10)).toBe(false);
  });

  test("one file at a time as long as nothing is known of the server", () => {
    const queue = new UploadQueue();
    queue.add("a", 1);
    queue.add("b", 1);
    expect([queue.next(), queue.next()]).toEqual(["a", undefined]);
  });
});

describe("deletes", () => {
  const around: DeleteSurroundings = {
    root: "there",
    knownId: "x",
    foundId: "x",
    knownFiles: 1000,
    isUploading: () => false,
    copies: () => 1,
  };
  const desk = (): DeleteDesk => new DeleteDesk({ guard: ROOT_GUARD_DEFAULTS, ...DELETE_DESK_DEFAULTS });
  const baseOf = (number: number): Base => ({
    ...BASE,
    md5: String(number).padStart(32, "0"),
    sizeBytes: number,
  });
  const fill = (deletes: DeleteDesk, count: number, nowMs = 0): void => {
    for (let number = 0; number < count; number++) deletes.want(`f${number}`, baseOf(number), nowMs);
  };

  test("of single files go almost at once, of several when no other follows", () => {
    const few = desk();
    fill(few, 2);
    expect(few.decide(0, around).send).toEqual([]);
    expect(few.nextAtMs(0)).toBe(200);
    expect(few.decide(200, around).send).toHaveLength(2);
    const several = desk();
    fill(several, 10);
    expect(several.decide(500, around).send).toEqual([]);
    expect(several.nextAtMs(500)).toBe(1000);
    expect(several.decide(1000, around).send).toHaveLength(10);
  });

  test("of too many are held until somebody approves", () => {
    const deletes = desk();
    fill(deletes, 501);
    const { send, verdict } = deletes.decide(5000, around);
    expect({ send, verdict }).toMatchObject({ send: [], verdict: { verdict: "hold", isApprovable: true } });
    expect(deletes.approve()).toBe(501);
    expect(deletes.decide(5000, around).send).toHaveLength(501);
  });

  test("of too many are not slipped through a few at a time", () => {
    const deletes = desk();
    fill(deletes, 300);
    for (const name of deletes.decide(5000, around).send) deletes.sent(name, 5000);
    for (let number = 300; number < 600; number++) deletes.want(`f${number}`, baseOf(number), 5000);
    expect(deletes.decide(9000, { ...around, knownFiles: 700 }).verdict.verdict).toBe("hold");
    expect(deletes.decide(70_000, { ...around, knownFiles: 700 }).verdict.verdict).toBe("go");
  });

  test("wait for a file of the same size that is being sent: it may be this one under a new name", () => {
    const deletes = desk();
    deletes.want("old name", baseOf(7), 0);
    expect(deletes.decide(500, { ...around, isUploading: (size) => size === 7 }).send).toEqual([]);
    expect(deletes.decide(500, around).send).toEqual(["old name"]);
  });

  test("of what only moved are no loss, however many", () => {
    const deletes = desk();
    fill(deletes, 900);
    expect(deletes.decide(5000, { ...around, copies: () => 2 }).send).toHaveLength(900);
  });

  test("two files of the same content that both go are a loss", () => {
    const deletes = new DeleteDesk({
      guard: { fewFiles: 1, maxFiles: 1, maxShare: 1 },
      ...DELETE_DESK_DEFAULTS,
    });
    deletes.want("a", baseOf(1), 0);
    deletes.want("b", baseOf(1), 0);
    expect(deletes.decide(5000, { ...around, copies: () => 2 }).verdict.verdict).toBe("hold");
  });

  test("of a folder that is not there cannot be approved", () => {
    const deletes = desk();
    fill(deletes, 1);
    deletes.approve();
    const { send, verdict } = deletes.decide(5000, { ...around, root: "missing" });
    expect({ send, verdict }).toMatchObject({ send: [], verdict: { isApprovable: false } });
  });
});
