import { DirectorySyncs } from "./directory-syncs.ts";
import type { Clock, Random, Tree } from "./ports.ts";
import { Publisher } from "./publication.ts";
import { Staging } from "./staging.ts";
import type { VersionLimits } from "./version-retention.ts";
import { Versions } from "./versions.ts";

/** How contents get into a synced folder, and what is kept of those that go. */
export interface Store {
  readonly staging: Staging;
  readonly publisher: Publisher;
  readonly versions: Versions;
}

/** @throws a system error; DrayError "refused" when `.dray` cannot be used */
export function openStore(ports: { tree: Tree; clock: Clock; random: Random }, limits: VersionLimits): Store {
  const syncs = new DirectorySyncs(ports.tree);
  const versions = new Versions(ports.tree, ports.clock, syncs, limits);
  return {
    staging: new Staging(ports.tree, ports.random),
    publisher: new Publisher(ports, syncs, versions),
    versions,
  };
}
