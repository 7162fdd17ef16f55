import { DrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import { MANIFEST_LIMITS, type Manifest } from "../wire/manifest.ts";
import { decodeManifest } from "../wire/manifest-codec.ts";
import { MAX_EAGER_BYTES, TO_END } from "../wire/messages.ts";
import { manifestPath } from "../wire/split-names.ts";

/** A manifest as a server has it. */
export interface StoredManifest {
  bytes: Uint8Array;
  /** Why it cannot be used, if so. */
  manifest: Manifest | DrayError;
}

/**
 * The manifest of a split file as a server has it.
 * @throws DrayError "not-found"
 */
export async function fetchManifest(client: Client, name: string): Promise<StoredManifest> {
  let bytes = new Uint8Array(0);
  let filled = 0;
  const receiver = {
    head: ({ sizeBytes }: { sizeBytes: number }): void => {
      if (sizeBytes > MANIFEST_LIMITS.manifestBytes)
        throw new DrayError("refused", `the manifest is larger than ${MANIFEST_LIMITS.manifestBytes} bytes`);
      bytes = new Uint8Array(sizeBytes);
    },
    piece: (piece: Uint8Array): void => {
      bytes.set(piece, filled);
      filled += piece.length;
    },
    complete: (): void => {},
  };
  const request = {
    path: manifestPath(name),
    offset: 0,
    length: TO_END,
    delayMs: 0,
    digest: "xxh3",
  } as const;
  await client.fetch(request, receiver);
  try {
    return { bytes, manifest: decodeManifest(bytes) };
  } catch (error) {
    if (error instanceof DrayError) return { bytes, manifest: error };
    throw error;
  }
}

/** Puts a manifest on a server, where it takes the place of what has its name. */
export async function putManifest(
  client: Client,
  name: string,
  bytes: Uint8Array,
  placedMs: number,
): Promise<void> {
  const source = {
    readFully: (target: Uint8Array, offset: number): void =>
      target.set(bytes.subarray(offset, offset + target.length)),
    assertUnchanged: (): void => {},
  };
  const request = {
    path: manifestPath(name),
    size: bytes.length,
    mtimeUs: Math.min(placedMs * 1000, Number.MAX_SAFE_INTEGER),
    mode: 0o644,
    digest: "sha256",
    eager: bytes.length <= MAX_EAGER_BYTES,
  } as const;
  await client.put(request, source, () => {});
}
