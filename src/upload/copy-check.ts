import { DrayError, isNotFound } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import { type Manifest, pieceDigestsOfPart } from "../wire/manifest.ts";
import { BLOCK_BYTES, PieceSums } from "../wire/piece-digest.ts";
import { partPath } from "../wire/split-names.ts";

/** What a manifest says of the contents, as far as it takes to check copies. */
export type CheckedContent = Pick<
  Manifest,
  "root" | "sizeBytes" | "partBytes" | "pieceBytes" | "digest" | "pieces"
> & {
  readonly parts: readonly { readonly sizeBytes: number }[];
};

export type CopyState = "good" | "rotten" | "missing";

/**
 * Has a server read its copy of a part, and compares the digests that it tells with those of the manifest.
 * @throws DrayError when it cannot be asked
 */
export async function checkCopy(
  client: Client,
  name: string,
  content: CheckedContent,
  part: number,
): Promise<CopyState> {
  const expected = pieceDigestsOfPart(content, part);
  const sums = new PieceSums(content.digest, content.pieceBytes / BLOCK_BYTES);
  let [matched, isRotten] = [0, false];
  const compare = (): void => {
    for (let digest = sums.takeDigest(); digest !== undefined; digest = sums.takeDigest()) {
      if (Buffer.compare(digest, expected.subarray(matched, matched + digest.length)) !== 0) isRotten = true;
      matched += digest.length;
    }
  };
  const receiver = {
    head: ({ sizeBytes }: { sizeBytes: number }): void => {
      if (sizeBytes !== content.parts[part]!.sizeBytes) throw new WrongSize();
    },
    digest: (digest: Uint8Array): void => {
      sums.add(digest);
      compare();
    },
  };
  const path = partPath(name, content, part);
  try {
    await client.sums({ path, pieceBytes: BLOCK_BYTES, digest: content.digest }, receiver);
  } catch (error) {
    if (error instanceof WrongSize) return "rotten";
    if (isNotFound(error)) return "missing";
    throw error;
  }
  sums.end();
  compare();
  return isRotten || matched !== expected.length ? "rotten" : "good";
}

class WrongSize extends DrayError {
  constructor() {
    super("refused", "it has another size");
  }
}
