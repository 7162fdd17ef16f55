import { DrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import type { Extent } from "./extents.ts";
import type { RemoteFacts } from "./final-file.ts";
import type { SeedFile } from "./seed-file.ts";

/** Pieces that are compared: as long as those that servers send. */
const PIECE_BYTES = 256 * 1024;

/** What of an older file is the same at the server, and not there yet. */
export interface Seeding {
  path: string;
  remote: RemoteFacts;
  seed: SeedFile;
  /** What is missing. */
  gaps: readonly Extent[];
}

/**
 * Asks a server for the digests of a file, and finds the pieces that an older one has at the same place.
 * @param found told of each, whose bytes are valid during the call
 * @throws DrayError; "changed" when the server has another version by now
 */
export async function findSeeds(
  client: Client,
  { path, remote, seed, gaps }: Seeding,
  found: (offset: number, bytes: Uint8Array, digest: bigint) => void,
): Promise<void> {
  const buffer = new Uint8Array(PIECE_BYTES);
  let offset = 0;
  let gap = 0;
  await client.sums(
    { path, pieceBytes: PIECE_BYTES, digest: "xxh3", mayRecall: true },
    {
      head: ({ sizeBytes, mtimeUs }) => {
        if (sizeBytes !== remote.sizeBytes || mtimeUs !== remote.mtimeUs)
          throw new DrayError("changed", "the file changed while it was being fetched");
      },
      digest: (digestBytes) => {
        const at = offset;
        const end = Math.min(at + PIECE_BYTES, remote.sizeBytes);
        offset = end;
        while (gap < gaps.length && endOf(gaps[gap]!) < end) gap++;
        const missing = gaps[gap];
        if (missing === undefined || missing.offset > at) return;
        const bytes = buffer.subarray(0, end - at);
        if (!seed.read(at, bytes)) return;
        const digest = Bun.hash.xxHash3(bytes);
        if (new DataView(digestBytes.buffer, digestBytes.byteOffset, 8).getBigUint64(0, true) === digest)
          found(at, bytes, digest);
      },
    },
  );
}

function endOf({ offset, lengthBytes }: Extent): number {
  return offset + lengthBytes;
}
