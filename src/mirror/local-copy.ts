import * as fs from "node:fs";
import { type ContainedRoot, Obstacle } from "../disk/contained-root.ts";
import { FileRead } from "../disk/file-read.ts";
import { type FileFacts, factsAt, isSameMtime } from "../disk/file-facts.ts";
import { DrayError, isNotFound } from "../errors/dray-error.ts";
import { DigestChain, type DigestKind, digestBytes, writeDigest } from "../wire/digest.ts";
import { quoteName } from "../wire/names.ts";
import type { DistrustedSpan, FetchedVersion, FetchReason, JobItem } from "./job.ts";

/** How much is read and digested before other work gets its turn. */
const TURN_BYTES = 16 * 1024 * 1024;

/** What is there under an item's name; undefined if nothing is. @throws a system error other than "not there" */
export function factsHere(root: ContainedRoot, components: readonly string[]): FileFacts | undefined {
  try {
    using directory = root.hold(components.slice(0, -1));
    return factsAt(directory.entry(components.at(-1)!));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** What stands where a directory of an item is to be, or the item itself; undefined if nothing does. */
export function obstacleOf(
  root: ContainedRoot,
  components: readonly string[],
  kind: JobItem["kind"],
): Obstacle | undefined {
  for (let depth = 1; depth <= components.length; depth++) {
    const facts = factsHere(root, components.slice(0, depth));
    if (facts === undefined) return undefined;
    const mustBeDirectory = depth < components.length || kind === "directory";
    if ((facts.kind === "directory") === mustBeDirectory) continue;
    if (!mustBeDirectory) return inTheWay(components);
    const name = quoteName(components.slice(0, depth).join("/"));
    return new Obstacle(`${name} is in the way: it is not a directory`);
  }
  return undefined;
}

/** For a directory in the place of a file or a link. */
export function inTheWay(components: readonly string[]): Obstacle {
  return new Obstacle(`${quoteName(components.join("/"))} is in the way: it is a directory`);
}

/**
 * Whether the tree already holds this version, by all that its metadata tells: same size,
 * modification time and executable bit, and not from a span of time whose writes a crash may have
 * taken back.
 * @returns why it is to be fetched; undefined if it is not
 */
export function reasonToFetch(
  facts: FileFacts | undefined,
  item: Pick<JobItem, "sizeBytes" | "mtimeUs" | "mode">,
  distrusted: DistrustedSpan | undefined,
): FetchReason | undefined {
  if (facts === undefined || facts.kind === "directory") return "new";
  const isSame =
    facts.kind === "file" &&
    facts.sizeBytes === item.sizeBytes &&
    isSameMtime(facts.mtimeUs, item.mtimeUs) &&
    isExecutable(facts.mode) === isExecutable(item.mode);
  const isDistrusted =
    distrusted !== undefined && facts.ctimeMs >= distrusted.fromMs && facts.ctimeMs <= distrusted.untilMs;
  return isSame && !isDistrusted ? undefined : "changed";
}

function isExecutable(mode: number): boolean {
  return (mode & 0o111) !== 0;
}

/**
 * Reads a file and compares it with how it came.
 * @returns what is wrong with it; undefined if it is as it was
 * @throws a system error other than "not there"
 */
export async function rotOf(
  root: ContainedRoot,
  components: readonly string[],
  record: FetchedVersion,
): Promise<FetchReason | undefined> {
  const facts = factsHere(root, components);
  if (facts === undefined) return "missing";
  if (reasonToFetch(facts, record, undefined) !== undefined) return "changed";
  const chain = new DigestChain(record.digest);
  try {
    await eachPiece(root, components, record.pieceBytes, record.digest, (digest) => chain.add(digest));
  } catch (error) {
    const isShorter = error instanceof DrayError && error.code === "changed";
    if (isShorter || isNotFound(error)) return "changed";
    if (isUnreadable(error)) return "rotten";
    throw error;
  }
  return Buffer.from(chain.value).toString("hex") === record.chain ? undefined : "rotten";
}

/** Digests the pieces of a file, one after the other, letting other work run in between. */
async function eachPiece(
  root: ContainedRoot,
  components: readonly string[],
  pieceBytes: number,
  kind: DigestKind,
  take: (digest: Uint8Array) => void,
): Promise<void> {
  const file = openHere(root, components);
  try {
    const { sizeBytes } = file.facts;
    const piece = new Uint8Array(Math.max(1, Math.min(pieceBytes, sizeBytes)));
    const digest = new Uint8Array(digestBytes(kind));
    let turnBytes = 0;
    for (let position = 0; position < sizeBytes; position += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, sizeBytes - position));
      file.readFully(bytes, position);
      writeDigest(kind, bytes, digest, 0);
      take(digest);
      turnBytes += bytes.length;
      if (turnBytes < TURN_BYTES) continue;
      turnBytes = 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    file.close();
  }
}

/** Opens a mirrored file for reading. @throws DrayError, or a system error */
export function openHere(root: ContainedRoot, components: readonly string[]): FileRead {
  using directory = root.hold(components.slice(0, -1));
  return new FileRead(directory, components.at(-1)!);
}

/** The device gives an error for what it held: that is rot, too. */
function isUnreadable(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EIO";
}

/** Gives a file whose contents are right the source's modification time and executable bit. @throws a system error */
export function setMetadata(
  root: ContainedRoot,
  components: readonly string[],
  { mtimeUs, mode }: { mtimeUs: number; mode: number },
): void {
  using directory = root.hold(components.slice(0, -1));
  const at = directory.entry(components.at(-1)!);
  const descriptor = fs.openSync(at, fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0));
  try {
    const now = fs.fstatSync(descriptor).mode & 0o7777;
    const wanted = isExecutable(mode) ? now | ((now & 0o444) >> 2) : now & ~0o111;
    if (wanted !== now) fs.fchmodSync(descriptor, wanted);
    // As text: Node's tradition takes a negative number for "now".
    const seconds = String(mtimeUs / 1e6);
    fs.futimesSync(descriptor, seconds, seconds);
  } finally {
    fs.closeSync(descriptor);
  }
}
