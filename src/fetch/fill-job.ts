import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import type { ClientSettings } from "../transfer/client.ts";
import type { Manifest } from "../wire/manifest.ts";
import { partPath } from "../wire/split-names.ts";
import type { Agreed, Agreement } from "./agreement.ts";
import { FinalError, type FetchSetting, type WantedFile } from "./fetch-setting.ts";
import type { GrowingSum } from "./file-sums.ts";
import { judgeLate } from "./identity.ts";
import { missingText } from "./missing-text.ts";
import type { PartFile } from "./part-file.ts";
import { digestsOfManifest, digestsOfReferees } from "./piece-digests.ts";
import { extentOf, layoutOfManifest, layoutOfWhole, piecesOf, runsWhere } from "./piece-layout.ts";
import type { PieceRun } from "./planner-events.ts";
import { RefereeDesk } from "./referee-desk.ts";
import { Referees } from "./referees.ts";
import type { Replica } from "./replica.ts";
import { ReplicatedFile } from "./replicated-file.ts";
import type { PieceSource } from "./run-receiver.ts";
import type { SeedFile } from "./seed-file.ts";
import { type ReplicaNews, Swarm } from "./swarm.ts";
import { GivenUp } from "./swarm-faults.ts";

/** Connections at once, and the memory of the pieces that they gather. */
const MAX_CONNECTIONS = 32;
const MIN_CONNECTIONS = 4;
const MAX_GATHERED_BYTES = 256 * 1024 * 1024;
/** A manifest with larger pieces (of a file of more than 1 TiB) would cost too much memory. */
const MAX_PIECE_BYTES = 16 * 1024 * 1024;

export interface ReplicatedSettings {
  client: ClientSettings;
  /** How long to try to reach somebody who has the file. */
  timeoutMs: number;
  /** How long all may bring nothing. */
  patienceMs: number;
  /** How long one may bring nothing before its connection is dropped. */
  stallMs: number;
  /** Whether a server may be asked that only a manifest names. */
  mayFollow(target: DialTarget): boolean;
  signal: AbortSignal;
}

export interface FillGiven {
  file: WantedFile;
  setting: FetchSetting;
  settings: ReplicatedSettings;
  agreement: Agreement;
  seed: SeedFile | undefined;
  replica(replica: Replica, what: ReplicaNews, why: string | undefined): void;
}

/** Fills one part from all who have something of it. */
export class FillJob {
  readonly #identity: Agreed;
  readonly #given: FillGiven;
  readonly #target: ReplicatedFile;
  readonly #referees: Referees | undefined;
  #swarm: Swarm | undefined;
  #desk: RefereeDesk | undefined;
  /** Some who have parts may not be asked. */
  #isCut = false;
  #dispute: { piece: number; voters: readonly Replica[] } | undefined;

  constructor(identity: Agreed, part: PartFile, sum: GrowingSum | undefined, given: FillGiven) {
    this.#identity = identity;
    this.#given = given;
    const { sizeBytes } = part.version;
    const layout =
      identity.kind === "manifest" ? layoutOfManifest(identity.manifest) : layoutOfWhole(sizeBytes);
    if (layout.pieceBytes > MAX_PIECE_BYTES)
      throw new DrayError("unsupported", `its pieces are larger than ${MAX_PIECE_BYTES} bytes`);
    this.#referees = identity.kind === "plain" ? new Referees(piecesOf(layout)) : undefined;
    const digests =
      identity.kind === "manifest"
        ? digestsOfManifest(identity.manifest)
        : digestsOfReferees(this.#referees!);
    const { counters } = given.setting;
    this.#target = new ReplicatedFile(part, layout, digests, sum, counters, given.seed);
  }

  /** Takes what is there already, where it is known what must be there. */
  async prepare(): Promise<void> {
    const { file, setting, settings } = this.#given;
    if (this.#referees === undefined) await this.#target.recoverAll(settings.signal);
    const { resumedBytes } = setting.counters;
    setting.started(file.path, this.#target.layout.sizeBytes, resumedBytes);
  }

  /** Bytes at this place are others than were written. */
  lose(offset: number): void {
    const piece = Math.floor(offset / this.#target.layout.pieceBytes);
    this.#target.lose(piece);
  }

  async bringMissing(): Promise<void> {
    if (this.#target.isWhole) return;
    const { settings, file } = this.#given;
    const { pieceBytes, sizeBytes } = this.#target.layout;
    const most = Math.max(MIN_CONNECTIONS, Math.floor(MAX_GATHERED_BYTES / pieceBytes));
    const { client, stallMs, patienceMs, signal } = settings;
    const planner = { stallMs, patienceMs, maxConnections: Math.min(MAX_CONNECTIONS, most) };
    const swarm = new Swarm(
      this.#target,
      { client, planner, signal },
      {
        replica: (replica, what, why) => this.#given.replica(replica, what, why),
        source: (replica, part) => this.#source(replica, part),
        gone: (replica) => this.#desk?.left(replica),
      },
    );
    this.#swarm = swarm;
    if (this.#referees !== undefined) {
      const asked = { path: file.path, sizeBytes, pieceBytes };
      this.#desk = new RefereeDesk(this.#referees, asked, client, {
        agreed: (pieces) => this.#agreed(pieces),
        blamed: (replica, piece, by) => this.#blamed(replica, piece, by),
        undecided: (piece, voters) => this.#undecided(piece, voters),
        isStarving: () => swarm.isStarving,
        failed: (error) => swarm.fail(error),
      });
    }
    this.#agreed({ first: 0, count: piecesOf(this.#target.layout) });
    this.#joinAll(swarm);
    if (this.#identity.whole.length === 1 && !this.#given.agreement.inquiry.isOpen) this.#desk?.believeOnly();
    try {
      await swarm.finished();
    } catch (error) {
      throw error instanceof GivenUp ? this.#failure(error) : error;
    } finally {
      this.#desk?.close();
      this.#desk = undefined;
      this.#swarm = undefined;
      this.#given.agreement.inquiry.onLate = undefined;
      this.#given.agreement.inquiry.onSilence = undefined;
    }
  }

  #joinAll(swarm: Swarm): void {
    const { agreement } = this.#given;
    const identity = this.#identity;
    if (identity.kind === "manifest") this.#seatHolders(identity.manifest);
    const mtimeUs = identity.kind === "plain" ? identity.facts.mtimeUs : undefined;
    for (const { replica: id, file } of agreement.inquiry.answers) {
      if (!identity.whole.includes(id)) continue;
      // Its own: files with the same bytes may have other times.
      this.#seatWhole(agreement.replicas[id]!, identity.kind === "plain" ? file?.mtimeUs : undefined);
    }
    for (const replica of agreement.replicas) if (isSeated(replica)) this.#join(swarm, replica);
    const { inquiry } = agreement;
    inquiry.onLate = (answer, replica) => {
      const outsider = judgeLate(identity, answer);
      if (outsider === undefined && answer.file !== undefined) {
        this.#seatWhole(replica, mtimeUs === undefined ? undefined : answer.file.mtimeUs);
        this.#join(swarm, replica);
        return;
      }
      replica.client?.close();
      replica.client = undefined;
      if (outsider === undefined) return; // it knows the manifest, and holds nothing
      agreement.putOut(outsider);
      this.#given.replica(replica, "left", replica.error);
    };
    const close = (): void => swarm.tell({ type: "joining-closed" });
    inquiry.onSilence = close;
    if (!inquiry.isOpen) close();
  }

  /** Those that the manifest names are asked for parts, whether they have answered or not. */
  #seatHolders(manifest: Manifest): void {
    const { agreement } = this.#given;
    const held = manifest.servers.map(() => new Set<number>());
    for (const [part, { holders }] of manifest.parts.entries()) for (const at of holders) held[at]!.add(part);
    for (const [at, server] of manifest.servers.entries()) {
      const replica = agreement.replicaAt(server);
      if (held[at]!.size > 0 && !this.#given.settings.mayFollow(server)) {
        replica.status = "refused";
        replica.error = "only the manifest names it, and it would get the token (--follow)";
        this.#isCut = true;
      }
      if (held[at]!.size === 0 || replica.status === "quarantined" || replica.status === "refused") continue;
      agreement.inquiry.stopAsking(replica);
      replica.parts = held[at]!;
      if (replica.isOut) replica.status = "pending";
    }
  }

  #seatWhole(replica: Replica, mtimeUs: number | undefined): void {
    replica.whole = { sizeBytes: this.#target.layout.sizeBytes, mtimeUs };
  }

  #join(swarm: Swarm, replica: Replica): void {
    if (replica.status === "quarantined" || replica.status === "refused") return;
    swarm.join(replica, replica.whole === undefined ? [...replica.parts] : "all");
    this.#desk?.available(replica);
  }

  #source(replica: Replica, part: number): PieceSource {
    const { path } = this.#given.file;
    const identity = this.#identity;
    if (identity.kind === "manifest" && replica.parts.has(part)) {
      const { offset, sizeBytes } = identity.manifest.parts[part]!;
      const partFile = partPath(path, identity.manifest, part);
      return { path: partFile, isWhole: false, startsAt: offset, sizeBytes, mtimeUs: undefined };
    }
    const { sizeBytes, mtimeUs } = replica.whole!;
    return { path, isWhole: true, startsAt: 0, sizeBytes, mtimeUs };
  }

  /** What is there of these pieces need not be asked for. */
  #agreed(pieces: PieceRun): void {
    const swarm = this.#swarm;
    const known = (piece: number): boolean => this.#referees?.digestOf(piece) !== undefined;
    const runs = this.#referees === undefined ? [pieces] : runsWhere(pieces, known);
    for (const run of runs) {
      try {
        if (this.#referees !== undefined) this.#target.recover(run);
      } catch (error) {
        return swarm?.fail(asDrayError(error));
      }
      for (const present of runsWhere(run, (piece) => this.#target.isPresent(piece)))
        swarm?.tell({ type: "present", pieces: present });
      swarm?.tell({ type: "agreed", pieces: run });
    }
  }

  #blamed(replica: Replica, piece: number, by: readonly Replica[]): void {
    const { offset, lengthBytes } = extentOf(this.#target.layout, { first: piece, count: 1 });
    const others = by.map(({ shown }) => shown).join(" and ");
    const why = `its bytes ${offset} to ${offset + lengthBytes - 1} are others than those of ${others}`;
    this.#swarm?.caught(replica, piece, why);
  }

  /** Two say different things, and there is no third: as long as one may come, it is waited for. */
  #undecided(piece: number, voters: readonly Replica[]): void {
    this.#dispute ??= { piece, voters };
    if (!this.#given.agreement.inquiry.isOpen) this.#swarm?.fail(this.#disputed());
  }

  #disputed(): DrayError {
    const { piece, voters } = this.#dispute!;
    const { pieceBytes } = this.#target.layout;
    const from = piece * pieceBytes;
    const names = voters.map(({ shown }) => shown).join(" and ");
    return new FinalError(
      "integrity",
      `${names} say different things about its bytes from ${from} on, and there is no third to decide between them`,
    );
  }

  #failure({ code, failure }: GivenUp): DrayError {
    if (this.#dispute !== undefined) return this.#disputed();
    const { parts } = this.#target.layout;
    const { replicas } = this.#given.agreement;
    const what = missingText(failure, parts.length, replicas);
    const isCut = this.#isCut ? "; servers that only the manifest names were not asked (--follow)" : "";
    return new FinalError(code, what + isCut);
  }
}

function isSeated(replica: Replica): boolean {
  return replica.whole !== undefined || replica.parts.size > 0;
}
