import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import {
  MANIFEST_LIMITS,
  type Manifest,
  type ManifestServer,
  partSize,
  serverText,
} from "../wire/manifest.ts";
import { encodeManifest } from "../wire/manifest-codec.ts";
import { manifestPath } from "../wire/split-names.ts";
import type { PartServer } from "./part-server.ts";
import type { Placement } from "./placement.ts";
import type { Survey } from "./split-survey.ts";
import { putManifest } from "./stored-manifest.ts";

/** A manifest without what placement adds. */
export type PlacedContent = Omit<Manifest, "placedMs" | "servers" | "parts"> & {
  readonly parts: readonly { readonly sha256: string }[];
};

/**
 * The manifest of what a placement has achieved. If that is just what an earlier one says, it is that one
 * again: then servers that have it need nothing.
 * @param earlier the manifest that counted so far
 * @param elsewhere holders of each part that are not among the servers: they may come back
 * @throws DrayError "refused" when the earlier one says that it will always count
 */
export function manifestOf(
  content: PlacedContent,
  placement: Placement,
  servers: readonly PartServer[],
  earlier: Manifest | undefined,
  nowMs: number,
  elsewhere: readonly (readonly ManifestServer[])[] = [],
): Manifest {
  const named: ManifestServer[] = [];
  const places = new Map<string, number>();
  const placeOf = (server: ManifestServer): number => {
    const text = serverText(server);
    const known = places.get(text);
    if (known !== undefined) return known;
    places.set(text, named.length);
    return named.push({ host: server.host, port: server.port }) - 1;
  };
  // Those that are gone are not worth a question, unless they have something.
  for (const { isLost, target } of servers) if (!isLost) placeOf(target);
  const parts = content.parts.map(({ sha256 }, part) => {
    const holders = [
      ...placement.holders(part).map((server) => servers[server]!.target),
      ...(elsewhere[part] ?? []),
    ];
    return {
      offset: part * content.partBytes,
      sizeBytes: partSize(content, part),
      sha256,
      holders: [...new Set(holders.map(placeOf))].slice(0, MANIFEST_LIMITS.copies),
    };
  });
  const make = (placedMs: number): Manifest => ({ ...content, placedMs, servers: named, parts });
  if (earlier === undefined) return make(nowMs);
  const again = make(earlier.placedMs);
  const isSame = Buffer.compare(encodeManifest(again), encodeManifest(earlier)) === 0;
  if (isSame) return again;
  if (earlier.placedMs >= MANIFEST_LIMITS.placedMs)
    throw new DrayError(
      "refused",
      "a server has a manifest after which none can come: remove the file there first",
    );
  return make(Math.max(nowMs, earlier.placedMs + 1));
}

/**
 * Puts a manifest on every server that is there and does not have it.
 * @param failed told of each one that does not take it
 * @returns on how many it is now
 */
export async function writeManifest(
  name: string,
  manifest: Manifest,
  servers: readonly PartServer[],
  surveys: readonly (Survey | undefined)[],
  signal: AbortSignal,
  failed: (server: PartServer, error: DrayError) => void,
): Promise<number> {
  const bytes = encodeManifest(manifest);
  let written = 0;
  await Promise.all(
    servers.map(async (server, index) => {
      if (server.isLost) return;
      const stored = surveys[index]?.stored;
      try {
        if (stored === undefined || Buffer.compare(stored.bytes, bytes) !== 0) {
          // One that has rotted may have the size and time of ours, and would be taken for it.
          if (stored?.manifest instanceof DrayError)
            await server.askFor((client) => client.remove(manifestPath(name)));
          await server.ask((client) => putManifest(client, name, bytes, manifest.placedMs));
        }
        written++;
      } catch (error) {
        signal.throwIfAborted();
        failed(server, withContext("the manifest could not be put", asDrayError(error)));
      }
    }),
  );
  return written;
}
