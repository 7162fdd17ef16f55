import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { type Manifest, serverText } from "../wire/manifest.ts";
import { partPath } from "../wire/split-names.ts";
import type { PartServer } from "./part-server.ts";
import type { Placement } from "./placement.ts";
import { type StoredManifest, fetchManifest } from "./stored-manifest.ts";

/** What a server has under a name before anything is done. */
export interface Survey {
  stored: StoredManifest | undefined;
  /** Whether an unsplit file has the name. */
  hasPlain: boolean;
}

/**
 * Asks every server what it has under a name. Those that cannot be asked are lost afterwards.
 * @returns one for each server, undefined for those
 */
export function surveyServers(
  servers: readonly PartServer[],
  name: string,
  signal: AbortSignal,
): Promise<(Survey | undefined)[]> {
  return Promise.all(
    servers.map(async (server) => {
      try {
        const stored = await server.askFor((client) => fetchManifest(client, name));
        const plain = await server.askFor(async (client) => {
          const range = { path: name, offset: 0, length: 0, delayMs: 0, digest: "xxh3" } as const;
          await client.fetch(range, { head: () => {}, piece: () => {}, complete: () => {} });
          return true;
        });
        return { stored, hasPlain: plain ?? false };
      } catch (error) {
        signal.throwIfAborted();
        server.giveUp(asDrayError(error));
        return undefined;
      }
    }),
  );
}

/** The manifests of a survey that can be read, each version once, the one that counts first. */
export function knownManifests(surveys: readonly (Survey | undefined)[]): Manifest[] {
  const found = surveys.flatMap((survey) => {
    const manifest = survey?.stored?.manifest;
    return manifest === undefined || manifest instanceof DrayError ? [] : [manifest];
  });
  const versions = new Map(found.map((one) => [`${one.placedMs}/${one.root}/${one.partBytes}`, one]));
  return [...versions.values()].sort((a, b) => b.placedMs - a.placedMs || (a.root < b.root ? 1 : -1));
}

/**
 * Files that earlier manifests speak of and the new one does not: they are in nobody's way, only take room.
 * @returns one list of paths for each server
 */
export function outdatedFiles(
  name: string,
  earlier: readonly Manifest[],
  now: Pick<Manifest, "root" | "partBytes" | "copies">,
  placement: Placement,
  servers: readonly PartServer[],
): string[][] {
  const byName = new Map(servers.map((server, index) => [server.name, index]));
  const paths = servers.map(() => new Set<string>());
  for (const manifest of earlier) {
    const isSame = manifest.root === now.root && manifest.partBytes === now.partBytes;
    for (const [part, { holders }] of manifest.parts.entries()) {
      for (const holder of holders) {
        const server = byName.get(serverText(manifest.servers[holder]!));
        if (server === undefined) continue;
        if (isSame && placement.wanted(part).includes(server)) continue;
        if (isSame && placement.living(part).length < now.copies) continue;
        paths[server]!.add(partPath(name, manifest, part));
      }
    }
  }
  return paths.map((set) => [...set]);
}
