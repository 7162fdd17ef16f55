import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Identity,
  type ManifestFacts,
  type ReplicaAnswer,
  decideIdentity,
  judgeLate,
} from "../../src/fetch/identity.ts";
import { runs } from "./runs.ts";

type Answer = ReplicaAnswer<ManifestFacts>;

const file = fc.record({
  sizeBytes: fc.integer({ min: 1, max: 3 }),
  mtimeUs: fc.constantFrom(10, 20, 30),
  mode: fc.constant(0o644),
});
/** The size follows from the root, as it does with real ones. */
const manifest = fc
  .record({ root: fc.constantFrom("aa", "bb", "cc"), placedMs: fc.integer({ min: 1, max: 3 }) })
  .map(({ root, placedMs }) => ({ root, placedMs, sizeBytes: root.charCodeAt(0) - 96, mtimeUs: 1 }));

function answersOf(withManifests: boolean): fc.Arbitrary<Answer[]> {
  const anyManifest = withManifests
    ? fc.oneof(fc.constant(undefined), fc.constant("damaged" as const), manifest)
    : fc.constant(undefined);
  return fc
    .array(fc.record({ file: fc.option(file, { nil: undefined }), manifest: anyManifest }), { maxLength: 8 })
    .map((answers) => answers.map((answer, replica) => ({ ...answer, replica })));
}

const root = fc.option(fc.constantFrom("aa", "bb", "cc"), { nil: undefined });

function membersOf(identity: Identity<ManifestFacts>): readonly number[] {
  return identity.kind === "manifest" || identity.kind === "plain" ? identity.whole : [];
}

/** A decision that a tie does not stop: nobody's files are the same. */
function decided(answers: readonly Answer[], expected?: string): Identity<ManifestFacts> {
  return decideIdentity(answers, expected, []);
}

describe("which version is fetched", () => {
  test("the order of the answers means nothing", () => {
    const shuffled = answersOf(true).chain((answers) =>
      fc.tuple(
        fc.constant(answers),
        fc.shuffledSubarray(answers, { minLength: answers.length, maxLength: answers.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, root, ([answers, others], expected) => {
        expect(decideIdentity(others, expected)).toEqual(decideIdentity(answers, expected));
        expect(decided(others, expected)).toEqual(decided(answers, expected));
      }),
      runs(500),
    );
  });

  test("members have one version and one only; everybody else is named, once", () => {
    fc.assert(
      fc.property(answersOf(true), root, (answers, expected) => {
        const identity = decided(answers, expected);
        expect(identity.kind).not.toBe("tie");
        if (identity.kind === "tie") return;
        const members = membersOf(identity);
        for (const id of members) {
          const { file } = answers[id]!;
          if (identity.kind === "plain") expect(file).toEqual(identity.facts);
          else if (identity.kind === "manifest") expect(file?.sizeBytes).toBe(identity.manifest.sizeBytes);
        }
        const named = identity.outsiders.map(({ replica }) => replica);
        expect(new Set([...named, ...members]).size).toBe(named.length + members.length);
        for (const { replica, manifest } of answers) {
          if (named.includes(replica) || members.includes(replica)) continue;
          // Neither: it has the very manifest, and no file of its own.
          if (identity.kind !== "manifest" || typeof manifest !== "object") throw new Error("left out");
          expect(manifest.root).toBe(identity.manifest.root);
        }
      }),
      runs(500),
    );
  });

  test("a manifest without a file beside it counts more than files, the latest one most; an expected sum overrules that", () => {
    fc.assert(
      fc.property(answersOf(true), root, (answers, expected) => {
        const manifests = answers
          .map(({ file, manifest }) => (file === undefined ? manifest : undefined))
          .filter((one) => typeof one === "object")
          .filter((one) => expected === undefined || one.root === expected);
        const identity = decideIdentity(answers, expected);
        expect(identity.kind === "manifest").toBe(manifests.length > 0);
        if (identity.kind !== "manifest") return;
        expect(identity.manifest.placedMs).toBe(Math.max(...manifests.map(({ placedMs }) => placedMs)));
      }),
      runs(500),
    );
  });

  test("without manifests the majority decides, then the youngest", () => {
    fc.assert(
      fc.property(answersOf(false), (answers) => {
        const identity = decided(answers);
        if (identity.kind !== "plain") return expect(answers.every(({ file }) => !file)).toBe(true);
        for (const { file } of answers) {
          if (file === undefined) continue;
          const same = answers.filter(
            (other) => other.file?.sizeBytes === file.sizeBytes && other.file.mtimeUs === file.mtimeUs,
          );
          expect(same.length).toBeLessThanOrEqual(identity.whole.length);
          if (same.length === identity.whole.length)
            expect(file.mtimeUs).toBeLessThanOrEqual(identity.facts.mtimeUs);
        }
      }),
      runs(500),
    );
  });

  test("one that answers late is judged as if it had been in time", () => {
    fc.assert(
      fc.property(answersOf(true), root, (answers, expected) => {
        const identity = decided(answers, expected);
        if (identity.kind !== "plain" && identity.kind !== "manifest") return;
        for (const answer of answers) {
          const named = identity.outsiders.find(({ replica }) => replica === answer.replica);
          expect(judgeLate(identity, answer)).toEqual(named);
        }
      }),
      runs(500),
    );
  });
});

describe("as many with one version as with another", () => {
  const has = (replica: number, mtimeUs: number, sizeBytes = 10): Answer => ({
    replica,
    file: { sizeBytes, mtimeUs, mode: 0o644 },
    manifest: undefined,
  });
  const two = [has(0, 50), has(1, 60), has(2, 50), has(3, 60)];

  test("of one length: what is in them has to be looked at", () => {
    expect(decideIdentity(two, undefined)).toEqual({
      kind: "tie",
      groups: [
        [1, 3],
        [0, 2],
      ],
    });
  });

  test("the same bytes: all of them are members", () => {
    const identity = decideIdentity(two, undefined, [[0, 1, 2, 3]]);
    expect(identity).toMatchObject({ kind: "plain", whole: [0, 1, 2, 3], facts: { mtimeUs: 60 } });
  });

  test("other bytes: the younger ones", () => {
    const identity = decideIdentity(two, undefined, [
      [0, 2],
      [1, 3],
    ]);
    expect(identity).toMatchObject({ kind: "plain", whole: [1, 3] });
  });

  test("of other lengths: the younger ones, without a look", () => {
    expect(decideIdentity([has(0, 50, 10), has(1, 40, 11)], undefined)).toMatchObject({ whole: [0] });
  });

  test("two of one length outnumber one of another, if they are the same", () => {
    const three = [has(0, 50), has(1, 60), has(2, 90, 11)];
    expect(decideIdentity(three, undefined)).toMatchObject({ kind: "tie", groups: [[1], [0]] });
    expect(decideIdentity(three, undefined, [[0, 1]])).toMatchObject({ whole: [0, 1] });
    expect(decideIdentity(three, undefined, [[0], [1]])).toMatchObject({ whole: [2] });
  });
});
