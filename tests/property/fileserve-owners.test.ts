import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import fc from "fast-check";
import { type FileVersion, OwnerJournal } from "../../src/fileserve/owner-journal.ts";
import { Quota } from "../../src/fileserve/quota.ts";
import { tempFolder } from "../support/temp.ts";
import { runs } from "./runs.ts";

const PATHS = ["a", "b", "c/d"];

/** What the tree and the record would be after any number of changes, each of which may be cut off at any step. */
interface Step {
  do: "put" | "remove" | "rename";
  path: string;
  to: string;
  owner: string;
  sizeBytes: number;
  /** How many of the steps intend, apply, settle are done before everything is killed; 3 is all. */
  reached: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom("put", "put", "put", "remove", "rename"),
  path: fc.constantFrom(...PATHS),
  to: fc.constantFrom(...PATHS),
  owner: fc.constantFrom("alice", "bob", ""),
  sizeBytes: fc.nat(3),
  reached: fc.constantFrom(3, 3, 3, 0, 1, 2),
});

test("whatever is cut off when, each file that is there belongs to who put it, and to nobody else", () => {
  using folder = tempFolder();
  let number = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const path = folder.join(`owners-${number++}.db`);
      const open = (): OwnerJournal => new OwnerJournal(path, (why) => expect(why).toBe("never"));
      let journal = open();
      const tree = new Map<string, FileVersion & { owner: string }>();
      let mtimeUs = 0;
      for (const one of steps) {
        const there = tree.get(one.path);
        if (there !== undefined && journal.ownerOf(there) !== one.owner) continue; // refused
        const version = { path: one.path, sizeBytes: one.sizeBytes, mtimeUs: (mtimeUs += 10) };
        if (one.do === "put") {
          if (one.reached > 0) journal.intend([{ version, owner: one.owner, replaces: there }]);
          if (one.reached > 1) tree.set(one.path, { ...version, owner: one.owner });
          if (one.reached > 2) journal.settle([version], []);
        } else if (there === undefined) continue;
        else if (one.do === "remove") {
          if (one.reached > 1) tree.delete(one.path);
          if (one.reached > 2) journal.settle([], [one.path]);
        } else {
          if (tree.has(one.to)) continue;
          const renamed = { ...there, path: one.to };
          if (one.reached > 0) journal.intend([{ version: renamed, owner: one.owner, replaces: undefined }]);
          if (one.reached > 1) tree.delete(one.path);
          if (one.reached > 1) tree.set(one.to, renamed);
          if (one.reached > 2) journal.settle([renamed], [one.path]);
        }
        if (one.reached < 3) {
          journal.close();
          journal = open();
        }
        for (const { owner, ...file } of tree.values()) expect(journal.ownerOf(file)).toBe(owner);
      }
      // After tidying up, the record holds exactly what is there.
      for (const known of journal.pathsAfter("", 100)) {
        const there = tree.get(known);
        journal.settle(there === undefined ? [] : [there], there === undefined ? [known] : []);
      }
      expect(journal.totalBytes()).toBe([...tree.values()].reduce((sum, file) => sum + file.sizeBytes, 0));
      journal.close();
    }),
    runs(60),
  );
});

test("a row with a flipped bit belongs to nobody", () => {
  using folder = tempFolder();
  const version = { path: "a", sizeBytes: 5, mtimeUs: 7 };
  const change = (sql: string): string | undefined => {
    const path = folder.join(`${Bun.hash(sql)}.db`);
    const journal = new OwnerJournal(path, () => {});
    journal.intend([{ version, owner: "alice", replaces: undefined }]);
    journal.close();
    const database = new Database(path);
    database.run(sql);
    database.close();
    const again = new OwnerJournal(path, () => {});
    const owner = again.ownerOf(version);
    again.close();
    return owner;
  };
  expect(change("SELECT 1")).toBe("alice");
  expect(change("UPDATE owners SET owner = 'alicf'")).toBeUndefined();
  expect(change("UPDATE owners SET checksum = checksum + 1")).toBeUndefined();
  expect(change("UPDATE owners SET mtimeUs = 8, sizeBytes = 5")).toBeUndefined();
});

test("a quota takes what fits, to the byte, and never more", () => {
  fc.assert(
    fc.property(
      fc.nat(1000),
      fc.nat(1000),
      fc.array(fc.nat(400), { maxLength: 20 }),
      (maxFile, maxTotal, sizes) => {
        const quota = new Quota({ maxFileBytes: maxFile, maxTotalBytes: maxTotal });
        for (const sizeBytes of sizes) {
          const fits = sizeBytes <= maxFile && quota.usedBytes + sizeBytes <= maxTotal;
          expect(quota.missingBytes(sizeBytes) === 0).toBe(quota.usedBytes + sizeBytes <= maxTotal);
          if (fits) quota.check(sizeBytes, 0);
          else expect(() => quota.check(sizeBytes, 0)).toThrow(/this server takes|over the limit/);
          if (fits) quota.fileBytes += sizeBytes;
          expect(quota.usedBytes).toBeLessThanOrEqual(maxTotal);
        }
      },
    ),
    runs(200),
  );
});
