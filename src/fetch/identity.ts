import { isSameMtime } from "../disk/file-facts.ts";
import type { ReplicaId } from "./planner-events.ts";

/** What of a manifest decides which version it is. */
export interface ManifestFacts {
  /** SHA-256 of the whole file in lower-case hexadecimal. */
  root: string;
  sizeBytes: number;
  mtimeUs: number;
  /** When it was put or repaired, in milliseconds since 1970: of two, the later one counts. */
  placedMs: number;
}

/** What a server says of a whole file that it has. */
export interface WholeFileFacts {
  sizeBytes: number;
  mtimeUs: number;
  /** Permission bits. */
  mode: number;
}

/**
 * What one replica answered; not-found is undefined. One that did not answer is not in the list. A plain file
 * that stands beside a manifest was put later, or by somebody else: that manifest does not count.
 */
export interface ReplicaAnswer<Manifest extends ManifestFacts> {
  replica: ReplicaId;
  file: WholeFileFacts | undefined;
  /** `damaged`: there is one, and it cannot be read. */
  manifest: Manifest | "damaged" | undefined;
}

/** Which version is fetched, and which of those that answered have all of it as a plain file. */
export type Identity<Manifest extends ManifestFacts> =
  | { kind: "manifest"; manifest: Manifest; whole: readonly ReplicaId[]; outsiders: readonly Outsider[] }
  /** Without a manifest, two of the `whole` have to agree on what is in it (referees.ts), if they are two. */
  | { kind: "plain"; facts: WholeFileFacts; whole: readonly ReplicaId[]; outsiders: readonly Outsider[] }
  /**
   * As many replicas have one version as another. One of each group is to be asked for the SUMS of its file, and
   * the decision made again with what is equal (`sameContent`).
   */
  | { kind: "tie"; groups: readonly (readonly ReplicaId[])[] }
  /** Nobody who answered has it. */
  | { kind: "none"; outsiders: readonly Outsider[] };

/** One whose answer is not used, and why: for the report. */
export interface Outsider {
  replica: ReplicaId;
  why:
    | { kind: "absent" }
    /** Its manifest, or its whole file, is of another version. */
    | { kind: "other-manifest"; root: string; sizeBytes: number; placedMs: number }
    | { kind: "other-file"; sizeBytes: number; mtimeUs: number }
    | { kind: "damaged-manifest" };
}

/**
 * Decides which version of a file is fetched. Pure; the order of the answers means nothing.
 *
 * The manifest that was placed last decides. Without any, the version (size, time of modification) that most
 * replicas have, then the younger one.
 * @param expectedRoot the SHA-256 that the file must have, if that is known: manifests of other files do not count
 * @param sameContent replicas whose files were found to hold the same bytes, as sets; undefined when nobody
 *   has looked, and only then there is a tie
 */
export function decideIdentity<Manifest extends ManifestFacts>(
  answers: readonly ReplicaAnswer<Manifest>[],
  expectedRoot: string | undefined,
  sameContent?: readonly (readonly ReplicaId[])[],
): Identity<Manifest> {
  const ordered = answers.toSorted((a, b) => a.replica - b.replica);
  const manifest = latestManifest(ordered, expectedRoot);
  if (manifest !== undefined) return member({ kind: "manifest", manifest }, ordered);
  const groups = plainGroups(ordered, sameContent ?? []);
  const [first] = groups;
  if (first === undefined) {
    const outsiders = ordered.map((answer) => outsider(answer, undefined));
    return { kind: "none", outsiders: outsiders.filter((one) => one !== undefined) };
  }
  const tied = sameContent === undefined ? tiedWith(first, groups) : [];
  if (tied.length > 0) return { kind: "tie", groups: tied.map(({ replicas }) => replicas) };
  const whole = new Set(first.replicas);
  return {
    kind: "plain",
    facts: first.facts,
    whole: first.replicas,
    outsiders: ordered
      .filter(({ replica }) => !whole.has(replica))
      .map((answer) => outsider(answer, undefined))
      .filter((one) => one !== undefined),
  };
}

/**
 * Judges one that answers after the decision.
 * @returns undefined when its whole file belongs to the version that was decided on; with a manifest also when it
 *   has the same one and no file of its own
 */
export function judgeLate<Manifest extends ManifestFacts>(
  identity: Extract<Identity<Manifest>, { kind: "manifest" | "plain" }>,
  answer: ReplicaAnswer<Manifest>,
): Outsider | undefined {
  if (identity.kind === "manifest") return outsider(answer, identity.manifest);
  const isSame = answer.file !== undefined && isSameVersion(answer.file, identity.facts);
  return isSame ? undefined : outsider(answer, undefined);
}

function isSameVersion(one: WholeFileFacts, other: WholeFileFacts): boolean {
  return one.sizeBytes === other.sizeBytes && isSameMtime(one.mtimeUs, other.mtimeUs);
}

function member<Manifest extends ManifestFacts>(
  { kind, manifest }: { kind: "manifest"; manifest: Manifest },
  answers: readonly ReplicaAnswer<Manifest>[],
): Identity<Manifest> {
  const whole = answers.filter(({ file }) => file?.sizeBytes === manifest.sizeBytes);
  const outsiders = answers.map((answer) => outsider(answer, manifest));
  return {
    kind,
    manifest,
    whole: whole.map(({ replica }) => replica),
    outsiders: outsiders.filter((one) => one !== undefined),
  };
}

/** The one placed last; of several, the one that most have, then any, but always the same. */
function latestManifest<Manifest extends ManifestFacts>(
  answers: readonly ReplicaAnswer<Manifest>[],
  expectedRoot: string | undefined,
): Manifest | undefined {
  const manifests = answers
    .map(({ file, manifest }) => (file === undefined ? manifest : undefined))
    .filter((manifest) => manifest !== undefined && manifest !== "damaged")
    .filter(({ root }) => expectedRoot === undefined || root === expectedRoot);
  const holdersOf = (manifest: Manifest): number =>
    manifests.filter(({ root, placedMs }) => root === manifest.root && placedMs === manifest.placedMs).length;
  return manifests.toSorted(
    (a, b) => b.placedMs - a.placedMs || holdersOf(b) - holdersOf(a) || (a.root < b.root ? -1 : 1),
  )[0];
}

interface PlainGroup {
  facts: WholeFileFacts;
  replicas: ReplicaId[];
}

/** Those with the same version, or the same bytes; the largest group first, then the youngest. */
function plainGroups<Manifest extends ManifestFacts>(
  answers: readonly ReplicaAnswer<Manifest>[],
  sameContent: readonly (readonly ReplicaId[])[],
): PlainGroup[] {
  let groups: PlainGroup[] = [];
  for (const { replica, file } of answers) {
    if (file === undefined) continue;
    const group = groups.find(({ facts }) => isSameVersion(facts, file));
    if (group === undefined) groups.push({ facts: file, replicas: [replica] });
    else group.replicas.push(replica);
  }
  for (const same of sameContent) {
    const equal = groups.filter(({ replicas }) => replicas.some((replica) => same.includes(replica)));
    const [first, ...rest] = equal.toSorted(largestFirst);
    if (first === undefined || rest.some(({ facts }) => facts.sizeBytes !== first.facts.sizeBytes)) continue;
    const replicas = equal.flatMap((group) => group.replicas).sort((a, b) => a - b);
    groups = [...groups.filter((group) => !equal.includes(group)), { facts: first.facts, replicas }];
  }
  return groups.sort(largestFirst);
}

function largestFirst(a: PlainGroup, b: PlainGroup): number {
  return (
    b.replicas.length - a.replicas.length ||
    b.facts.mtimeUs - a.facts.mtimeUs ||
    b.facts.sizeBytes - a.facts.sizeBytes
  );
}

/** Of the groups as large as the first one, those whose files could be the same: of one length. */
function tiedWith(first: PlainGroup, groups: readonly PlainGroup[]): PlainGroup[] {
  const largest = groups.filter(({ replicas }) => replicas.length === first.replicas.length);
  return largest.filter((one) =>
    largest.some((other) => other !== one && other.facts.sizeBytes === one.facts.sizeBytes),
  );
}

/** Why an answer does not belong to a manifest's version; without one, what it is. */
function outsider<Manifest extends ManifestFacts>(
  { replica, file, manifest }: ReplicaAnswer<Manifest>,
  agreed: Manifest | undefined,
): Outsider | undefined {
  if (agreed !== undefined && file?.sizeBytes === agreed.sizeBytes) return undefined;
  if (file !== undefined) {
    const { sizeBytes, mtimeUs } = file;
    return { replica, why: { kind: "other-file", sizeBytes, mtimeUs } };
  }
  if (manifest === undefined) return { replica, why: { kind: "absent" } };
  if (manifest === "damaged") return { replica, why: { kind: "damaged-manifest" } };
  const { root, sizeBytes, placedMs } = manifest;
  if (root === agreed?.root) return undefined;
  return { replica, why: { kind: "other-manifest", root, sizeBytes, placedMs } };
}
