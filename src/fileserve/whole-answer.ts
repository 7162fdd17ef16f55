import type { FileFacts } from "../disk/file-facts.ts";
import { DigestChain, digestBytes } from "../wire/digest.ts";
import { FRAME_HEADER_BYTES, readdressFrame } from "../wire/frame.ts";
import { messageBytes, sealDataFrame, writeMessage } from "../wire/messages.ts";

/**
 * The complete answer to a FETCH of a whole file of one piece, kept in one buffer around the file's contents
 * as it goes onto the wire: FILE, DATA unless the file is empty, END. What is asked for most costs no copy
 * and no digest: only the request's id is put in.
 */

const DIGEST = "xxh3";
const DATA_HEAD_BYTES = FRAME_HEADER_BYTES + digestBytes(DIGEST);
const FILE = { type: "file", size: 0, mtimeUs: 0, mode: 0, offset: 0, length: 0 } as const;
const END = { type: "end", length: 0, chain: new Uint8Array(digestBytes(DIGEST)) } as const;
const FILE_BYTES = messageBytes(FILE);
const END_BYTES = messageBytes(END);

/** Where in the buffer the contents begin. */
export function contentsStart(sizeBytes: number): number {
  return sizeBytes === 0 ? FILE_BYTES : FILE_BYTES + DATA_HEAD_BYTES;
}

/** How long the buffer is. */
export function answerBytes(sizeBytes: number): number {
  return contentsStart(sizeBytes) + sizeBytes + END_BYTES;
}

/** Writes the frames around the contents, which are in place. */
export function frameAnswer(buffer: Uint8Array, { sizeBytes, mtimeUs, mode }: FileFacts): void {
  const chain = new DigestChain(DIGEST);
  if (sizeBytes > 0) chain.add(sealDataFrame(buffer, FILE_BYTES, 0, DIGEST, sizeBytes));
  writeMessage({ ...FILE, size: sizeBytes, mtimeUs, mode, length: sizeBytes }, 0, buffer, 0);
  writeMessage({ ...END, length: sizeBytes, chain: chain.value }, 0, buffer, buffer.length - END_BYTES);
}

/** Makes a framed answer, or a copy of it, which lies at `offset` of `target`, that to this request. */
export function addressAnswer(
  target: Uint8Array,
  offset: number,
  lengthBytes: number,
  requestId: number,
): void {
  const endAt = offset + lengthBytes - END_BYTES;
  const dataAt = offset + FILE_BYTES;
  readdressFrame(target, offset, requestId, FILE_BYTES);
  if (endAt > dataAt) readdressFrame(target, dataAt, requestId, endAt - dataAt);
  readdressFrame(target, endAt, requestId, END_BYTES);
}
