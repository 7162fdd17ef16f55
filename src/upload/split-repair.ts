import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { type Manifest, type ManifestServer, serverText } from "../wire/manifest.ts";
import { quoteName } from "../wire/names.ts";
import { manifestPath, partPath } from "../wire/split-names.ts";
import { checkCopy } from "./copy-check.ts";
import { CopyRounds } from "./copy-rounds.ts";
import type { LocalFile } from "./local-files.ts";
import { manifestOf, writeManifest } from "./manifest-writing.ts";
import { asLocalFile } from "./part-source.ts";
import type { PartServer } from "./part-server.ts";
import { Placement } from "./placement.ts";
import { type Restore, batchesOf, restoresOf } from "./repair-plan.ts";
import type { ServerPutSettings } from "./server-put.ts";
import type { Placed, SplitEvents } from "./split-put.ts";
import { splitFilesOf } from "./split-changes.ts";
import { type Survey, knownManifests, surveyServers } from "./split-survey.ts";
import { TempFileError, TempParts } from "./temp-parts.ts";

export interface SplitRepairSettings {
  put: ServerPutSettings;
  /** How many copies each part shall have from now on; undefined: as many as before. */
  copies: number | undefined;
}

/** What a repair found and did. */
export interface Repaired extends Placed {
  good: number;
  rotten: number;
  restored: number;
  removed: number;
}

/** Room for parts on their way. */
const TEMP_BYTES = 256 * 1024 * 1024;

/** Brings a split file back to its full number of copies, from the good ones. */
export class SplitRepair {
  readonly #name: string;
  readonly #servers: readonly PartServer[];
  readonly #settings: SplitRepairSettings;
  readonly #events: SplitEvents;
  readonly #counts = { good: 0, rotten: 0, restored: 0, removed: 0 };

  constructor(
    name: string,
    servers: readonly PartServer[],
    settings: SplitRepairSettings,
    events: SplitEvents,
  ) {
    this.#name = name;
    this.#servers = servers;
    this.#settings = settings;
    this.#events = events;
  }

  /** @throws DrayError "not-found" when no server has a manifest, the signal's reason, … */
  async run(): Promise<Repaired> {
    const { signal } = this.#settings.put;
    const surveys = await surveyServers(this.#servers, this.#name, signal);
    const [earlier] = knownManifests(surveys);
    if (earlier === undefined) throw this.#unknown(surveys);
    const copies = this.#settings.copies ?? earlier.copies;
    const placement = await this.#inspect(earlier, copies);
    await this.#restore(earlier, placement);
    // From here on nobody is told of them; they are removed when all know the new manifest.
    for (const copy of placement.surplus()) placement.vanished(copy);
    const short = placement.short();
    const content = { ...earlier, copies };
    const elsewhere =
      short.length === 0 ? [] : this.#elsewhere(earlier, new Set(short.map(({ part }) => part)));
    const manifest = manifestOf(content, placement, this.#servers, earlier, Date.now(), elsewhere);
    let failures = 0;
    const failed = (server: PartServer, error: DrayError): void => {
      failures++;
      this.#events.serverFailed(server, this.#asFile(), error);
    };
    const manifests = await writeManifest(this.#name, manifest, this.#servers, surveys, signal, failed);
    // Of a version that is not whole nobody knows whether it is the one that is wanted.
    if (failures === 0 && short.length === 0) await this.#cleanUp(manifest, placement);
    return { manifest, manifests, short, ...this.#counts };
  }

  #unknown(surveys: readonly (Survey | undefined)[]): DrayError {
    const lost = this.#servers.find(({ isLost }) => isLost)?.error;
    const broken = surveys.map((survey) => survey?.stored?.manifest).find((one) => one instanceof DrayError);
    if (broken instanceof DrayError) return broken;
    if (lost !== undefined && surveys.every((survey) => survey === undefined)) return lost;
    return new DrayError("not-found", `no server has a split file ${quoteName(this.#name)}`);
  }

  /** Has every server read what it has. Copies that are wrong are removed: they look like good ones. */
  async #inspect(manifest: Manifest, copies: number): Promise<Placement> {
    const servers = this.#servers;
    const names = servers.map(({ name }) => name);
    const placement = new Placement({
      root: manifest.root,
      parts: manifest.parts.length,
      servers: names,
      copies,
    });
    await Promise.all(
      servers.map(async (server, index) => {
        try {
          for (const part of manifest.parts.keys()) {
            if (server.isLost) break;
            const state = await server.ask((client) => checkCopy(client, this.#name, manifest, part));
            if (state === "rotten") {
              await this.#removeRotten(server, index, part, manifest, placement);
            } else if (state === "good") {
              this.#counts.good++;
              server.files++;
              server.wantedFiles++;
              server.bytes += manifest.parts[part]!.sizeBytes;
              placement.landed({ part, server: index });
            }
          }
        } catch (error) {
          this.#settings.put.signal.throwIfAborted();
          server.giveUp(asDrayError(error));
        }
        if (server.isLost) this.#lost(server, index, manifest, placement);
      }),
    );
    return placement;
  }

  async #removeRotten(
    server: PartServer,
    index: number,
    part: number,
    manifest: Manifest,
    placement: Placement,
  ): Promise<void> {
    const path = partPath(this.#name, manifest, part);
    this.#counts.rotten++;
    try {
      await server.askFor((client) => client.remove(path));
      this.#events.rotten(server, path);
    } catch (error) {
      this.#settings.put.signal.throwIfAborted();
      if (server.isLost) throw error;
      const why = withContext(`the damaged copy of part ${part} stays`, asDrayError(error));
      this.#events.serverFailed(server, this.#asFile(), why);
      placement.refused({ part, server: index });
    }
  }

  /** What a server had that is gone may come back with it. */
  #lost(server: PartServer, index: number, manifest: Manifest, placement: Placement): void {
    for (const [part, { holders }] of manifest.parts.entries()) {
      if (holders.some((holder) => serverText(manifest.servers[holder]!) === server.name))
        placement.landed({ part, server: index });
    }
    placement.lost(index);
    this.#events.lost(server);
  }

  async #restore(manifest: Manifest, placement: Placement): Promise<void> {
    const temp = new TempParts();
    try {
      const settings = {
        name: this.#name,
        localPath: this.#name,
        content: manifest,
        servers: this.#servers,
        opener: temp,
        put: this.#settings.put,
      };
      const before = this.#servers.reduce((sum, { files }) => sum + files, 0);
      const rounds = new CopyRounds(settings, placement, this.#events);
      const tried = new Set<number>();
      for (let next = restoresOf(placement, tried); next.length > 0; next = restoresOf(placement, tried)) {
        for (const batch of batchesOf(next, manifest.partBytes, TEMP_BYTES)) {
          const brought = await Promise.all(
            batch.map((restore) => this.#bring(restore, manifest, placement, temp)),
          );
          const ready = batch.filter((_, index) => brought[index]);
          for (const { part } of batch) if (!ready.some((one) => one.part === part)) tried.add(part);
          await rounds.round(ready.flatMap(({ part, to }) => to.map((server) => ({ part, server }))));
          for (const { part } of batch) temp.remove(part);
        }
      }
      this.#counts.restored = this.#servers.reduce((sum, { files }) => sum + files, 0) - before;
    } finally {
      temp.close();
    }
  }

  /** Fetches a part from one who has it. @returns whether that went well */
  async #bring(
    { part, from }: Restore,
    manifest: Manifest,
    placement: Placement,
    temp: TempParts,
  ): Promise<boolean> {
    // Not all parts from the same one.
    const turn = part % from.length;
    for (const index of [...from.slice(turn), ...from.slice(0, turn)]) {
      const server = this.#servers[index]!;
      try {
        await server.ask((client) => temp.bring(client, this.#name, manifest, part));
        return true;
      } catch (error) {
        this.#settings.put.signal.throwIfAborted();
        if (error instanceof TempFileError) throw error;
        const why = withContext(`part ${part} cannot be read`, asDrayError(error));
        this.#events.serverFailed(server, this.#asFile(), why);
        placement.vanished({ part, server: index });
        if (server.isLost) this.#lost(server, index, manifest, placement);
      }
    }
    return false;
  }

  /** Of parts that lack copies: holders that we were not told of. They may have what we have not found. */
  #elsewhere(manifest: Manifest, short: ReadonlySet<number>): ManifestServer[][] {
    const ours = new Set(this.#servers.map(({ name }) => name));
    return manifest.parts.map(({ holders }, part) =>
      short.has(part)
        ? holders.map((holder) => manifest.servers[holder]!).filter((server) => !ours.has(serverText(server)))
        : [],
    );
  }

  /** Removes what the new manifest does not speak of: surplus copies, and what interrupted puts have left. */
  async #cleanUp(manifest: Manifest, placement: Placement): Promise<void> {
    await Promise.all(
      this.#servers.map(async (server, index) => {
        if (server.isLost) return;
        const kept = new Set([manifestPath(this.#name)]);
        for (const part of manifest.parts.keys()) {
          if (placement.has({ part, server: index })) kept.add(partPath(this.#name, manifest, part));
        }
        try {
          for (const path of await server.ask((client) => splitFilesOf(client, this.#name))) {
            if (kept.has(path)) continue;
            await server.askFor((client) => client.remove(path));
            this.#counts.removed++;
          }
        } catch (error) {
          this.#settings.put.signal.throwIfAborted();
          const why = withContext("what is left over stays", asDrayError(error));
          this.#events.serverFailed(server, this.#asFile(), why);
        }
      }),
    );
  }

  #asFile(): LocalFile {
    return asLocalFile(this.#name, this.#name, 0, 0);
  }
}
