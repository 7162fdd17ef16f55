import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import { type Manifest, partSize, splitSizes } from "../wire/manifest.ts";
import { assertSplittable } from "../wire/split-names.ts";
import { CopyRounds, type CopyEvents } from "./copy-rounds.ts";
import { type LocalFile, LocalOpener } from "./local-files.ts";
import { type PlacedContent, manifestOf, writeManifest } from "./manifest-writing.ts";
import type { PartServer } from "./part-server.ts";
import { PartOpener } from "./part-source.ts";
import { Placement } from "./placement.ts";
import type { ServerPutSettings } from "./server-put.ts";
import type { SplitSums } from "./split-sums.ts";
import { type Survey, knownManifests, outdatedFiles, surveyServers } from "./split-survey.ts";

export interface SplitPutSettings {
  put: ServerPutSettings;
  copies: number;
  /** As the user wishes; undefined for the default. */
  partBytes: number | undefined;
}

export interface SplitEvents extends CopyEvents {
  /** So many bytes of the local file have been read for its digests, of twice its size. */
  read(file: LocalFile, bytes: number): void;
  /** Something went wrong on a server that is no copy: its manifest, what is in the way, what is left over. */
  serverFailed(server: PartServer, file: LocalFile, error: DrayError): void;
}

/** What became of a split file. */
export interface Placed {
  manifest: Manifest;
  /** Servers that have the manifest. */
  manifests: number;
  /** Parts with fewer copies than were asked for. */
  short: { part: number; copies: number }[];
}

/** Splits a local file and places its parts. */
export class SplitPut {
  readonly #file: LocalFile;
  readonly #servers: readonly PartServer[];
  readonly #settings: SplitPutSettings;
  readonly #sums: SplitSums;
  readonly #events: SplitEvents;
  /** What servers have refused to take. */
  readonly #refusals: DrayError[] = [];
  /** Copies that were not there before. */
  readonly #sent: { server: PartServer; path: string }[] = [];

  constructor(
    file: LocalFile,
    servers: readonly PartServer[],
    settings: SplitPutSettings,
    sums: SplitSums,
    events: SplitEvents,
  ) {
    this.#file = file;
    this.#servers = servers;
    this.#settings = settings;
    this.#sums = sums;
    this.#events = {
      ...events,
      refused: (server, part, error) => {
        this.#refusals.push(error);
        events.refused(server, part, error);
      },
      placed: (server, part, resumedBytes) => {
        if (resumedBytes === 0) this.#sent.push({ server, path: part.path });
        events.placed(server, part, resumedBytes);
      },
      serverFailed: (server, part, error) => {
        this.#refusals.push(error);
        events.serverFailed(server, part, error);
      },
    };
  }

  /**
   * Parts first, then the manifest, then what earlier versions leave: whoever finds a manifest finds its parts.
   * @throws DrayError when the file cannot be placed at all, the signal's reason
   */
  async run(): Promise<Placed> {
    const { path: name } = this.#file;
    const { signal, digest } = this.#settings.put;
    assertSplittable(name);
    const opener = new LocalOpener();
    try {
      const source = opener.open(this.#file);
      try {
        const { sizeBytes, mtimeUs, mode } = source.facts;
        const sizes = splitSizes(sizeBytes, this.#settings.partBytes);
        const surveying = surveyServers(this.#servers, name, signal);
        const read = (bytes: number): void => this.#events.read(this.#file, bytes);
        const [sums, surveys] = await Promise.all([
          this.#sums.of(source, sizes, digest, read, signal),
          surveying,
        ]);
        source.assertUnchanged();
        const { copies } = this.#settings;
        const parts = sums.parts.map((sha256, index) => ({
          sha256,
          sizeBytes: partSize({ sizeBytes, ...sizes }, index),
        }));
        const content = {
          sizeBytes,
          mtimeUs,
          mode,
          ...sizes,
          digest,
          copies,
          root: sums.root,
          parts,
          pieces: sums.pieces,
        };
        const placement = await this.#place(content, new PartOpener(source, sizes.partBytes));
        return await this.#finish(content, placement, surveys);
      } finally {
        source.close();
      }
    } finally {
      opener.close();
    }
  }

  async #place(
    content: PlacedContent & {
      readonly parts: readonly { readonly sha256: string; readonly sizeBytes: number }[];
    },
    opener: PartOpener,
  ): Promise<Placement> {
    const { path: name, localPath } = this.#file;
    const servers = this.#servers;
    const { put, copies } = this.#settings;
    const names = servers.map((server) => server.name);
    const placement = new Placement({
      root: content.root,
      parts: content.parts.length,
      servers: names,
      copies,
    });
    for (const [index, { isLost }] of servers.entries()) if (isLost) placement.lost(index);
    const rounds = new CopyRounds(
      { name, localPath, content, servers, opener, put },
      placement,
      this.#events,
    );
    for (let missing = placement.missing(); missing.length > 0; missing = placement.missing())
      await rounds.round(missing);
    return placement;
  }

  async #finish(
    content: PlacedContent,
    placement: Placement,
    surveys: readonly (Survey | undefined)[],
  ): Promise<Placed> {
    const { path: name } = this.#file;
    const { signal } = this.#settings.put;
    const short = placement.short();
    const nowhere = short.filter(({ copies }) => copies === 0);
    if (nowhere.length > 0 || this.#servers.every(({ isLost }) => isLost)) throw this.#unplaced(nowhere);
    const earlier = knownManifests(surveys);
    const manifest = manifestOf(content, placement, this.#servers, earlier[0], Date.now());
    let failures = 0;
    const manifests = await writeManifest(name, manifest, this.#servers, surveys, signal, (server, error) => {
      failures++;
      this.#events.serverFailed(server, this.#file, error);
    });
    if (manifests === 0) {
      await this.#takeBack();
      throw this.#refused("no server has taken the manifest");
    }
    if (failures === 0) await this.#cleanUp(earlier, manifest, placement, surveys);
    return { manifest, manifests, short };
  }

  async #cleanUp(
    earlier: readonly Manifest[],
    manifest: Manifest,
    placement: Placement,
    surveys: readonly (Survey | undefined)[],
  ): Promise<void> {
    const { path: name } = this.#file;
    const outdated = outdatedFiles(name, earlier, manifest, placement, this.#servers);
    await Promise.all(
      this.#servers.map(async (server, index) => {
        const plain = surveys[index]?.hasPlain === true ? [name] : [];
        for (const path of [...plain, ...outdated[index]!]) {
          if (server.isLost) return;
          try {
            await server.askFor((client) => client.remove(path));
          } catch (error) {
            this.#settings.put.signal.throwIfAborted();
            const what =
              path === name ? "the unsplit file of this name is in the way" : "an earlier version stays";
            this.#events.serverFailed(server, this.#file, withContext(what, asDrayError(error)));
          }
        }
      }),
    );
  }

  #unplaced(nowhere: readonly { part: number }[]): DrayError {
    const reason = this.#servers.find(({ isLost }) => isLost)?.error;
    if (this.#servers.every(({ isLost }) => isLost) && reason !== undefined)
      return new DrayError(reason.code, `no server is left: ${reason.message}`, { cause: reason });
    const which = nowhere.slice(0, 5).map(({ part }) => String(part));
    const more = nowhere.length > which.length ? ` and ${nowhere.length - which.length} more` : "";
    return this.#refused(`no server has taken part ${which.join(", ")}${more}`);
  }

  /** With the servers' reason, if they all have the same. */
  #refused(what: string): DrayError {
    const [first] = this.#refusals;
    const codes = new Set(this.#refusals.map(({ code }) => code));
    if (first === undefined || codes.size > 1) return new DrayError("partial", what);
    return new DrayError(first.code, `${what}: ${first.message}`, { cause: first });
  }

  /** Parts that no manifest will ever speak of: somebody else has the name. */
  async #takeBack(): Promise<void> {
    if (this.#refusals.some(({ code }) => code !== "refused")) return;
    for (const { server, path } of this.#sent) {
      if (server.isLost) continue;
      try {
        await server.askFor((client) => client.remove(path));
      } catch (error) {
        this.#settings.put.signal.throwIfAborted();
        this.#events.serverFailed(server, this.#file, withContext("a part stays", asDrayError(error)));
      }
    }
  }
}
