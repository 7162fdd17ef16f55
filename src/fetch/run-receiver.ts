import { DrayError } from "../errors/dray-error.ts";
import type { FileHead, FileReceiver } from "../transfer/fetch-reply.ts";
import type { PieceRun, RequestId } from "./planner-events.ts";
import type { Replica } from "./replica.ts";

/** A run of pieces that one replica was asked for. */
export interface RunRequest {
  readonly request: RequestId;
  readonly replica: Replica;
  readonly pieces: PieceRun;
  /** Which file the replica is asked for, and what it must say of it. */
  readonly source: PieceSource;
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Where a replica has the bytes of a part. */
export interface PieceSource {
  path: string;
  /** It is the file itself, and not a part of it. */
  isWhole: boolean;
  /** Where this file begins in the file that is fetched. */
  startsAt: number;
  sizeBytes: number;
  /** Undefined: any. */
  mtimeUs: number | undefined;
}

/** The file is not the one that the replica has joined with. */
export class AnotherFile extends DrayError {}

/** Who takes the pieces. */
export interface RunTaker {
  readonly pieceBytes: number;
  received(run: RunRequest, bytes: number): void;
  /** @param wireDigest XXH3-64 of the bytes, if it was compared with them already */
  piece(run: RunRequest, piece: number, bytes: Uint8Array, wireDigest: bigint | undefined): void;
}

/** Gathers what comes in messages of the server's choice into whole pieces. */
export class RunReceiver implements FileReceiver {
  readonly #run: RunRequest;
  readonly #taker: RunTaker;
  #piece: number;
  #left: number;
  #gathered: Uint8Array | undefined;
  #gatheredBytes = 0;
  #receivedBytes = 0;
  /** What is still to come is not needed. */
  isCancelled = false;

  constructor(run: RunRequest, taker: RunTaker) {
    this.#run = run;
    this.#taker = taker;
    this.#piece = run.pieces.first;
    this.#left = run.lengthBytes;
  }

  /** Bytes that are still to come. */
  get outstandingBytes(): number {
    return this.#run.lengthBytes - this.#receivedBytes;
  }

  head({ sizeBytes, mtimeUs }: FileHead): void {
    const { source } = this.#run;
    if (sizeBytes !== source.sizeBytes)
      throw new AnotherFile("changed", `it has ${sizeBytes} bytes now instead of ${source.sizeBytes}`);
    if (source.mtimeUs !== undefined && mtimeUs !== source.mtimeUs)
      throw new AnotherFile("changed", "it was changed there while it was being fetched");
  }

  piece(bytes: Uint8Array, digestBytes: Uint8Array): void {
    this.#receivedBytes += bytes.length;
    this.#taker.received(this.#run, bytes.length);
    for (let at = 0; at < bytes.length && !this.isCancelled;) {
      const wanted = Math.min(this.#taker.pieceBytes, this.#left);
      const view = bytes.subarray(at, at + wanted - this.#gatheredBytes);
      at += view.length;
      if (view.length === wanted) {
        const isMessage = view.length === bytes.length;
        this.#whole(view, isMessage ? readXxh3(digestBytes) : undefined);
      } else {
        this.#gathered ??= new Uint8Array(this.#taker.pieceBytes);
        this.#gathered.set(view, this.#gatheredBytes);
        this.#gatheredBytes += view.length;
        if (this.#gatheredBytes === wanted) this.#whole(this.#gathered.subarray(0, wanted), undefined);
      }
    }
  }

  complete(): void {}

  #whole(bytes: Uint8Array, wireDigest: bigint | undefined): void {
    const piece = this.#piece++;
    this.#left -= bytes.length;
    this.#gatheredBytes = 0;
    this.#taker.piece(this.#run, piece, bytes, wireDigest);
  }
}

function readXxh3(digest: Uint8Array): bigint {
  return new DataView(digest.buffer, digest.byteOffset, 8).getBigUint64(0, true);
}
