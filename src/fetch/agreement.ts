import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import type { ClientSettings } from "../transfer/client.ts";
import type { Manifest } from "../wire/manifest.ts";
import { unexpectedSum } from "./fetch-setting.ts";
import { type Identity, type Outsider, decideIdentity } from "./identity.ts";
import type { ReplicaId } from "./planner-events.ts";
import { Replica } from "./replica.ts";
import { ReplicaInquiry } from "./replica-inquiry.ts";

/** A server may have missed the latest version: so many of those that its manifest names are asked as well. */
const MAX_WITNESSES = 8;
/** What two servers say of files of one size is compared in steps of this. */
const TIE_PIECE_BYTES = 1024 * 1024;

export type Agreed = Extract<Identity<Manifest>, { kind: "manifest" | "plain" }>;

export interface AgreementSettings {
  path: string;
  /** The SHA-256 that it must have, if that is known. */
  expected: string | undefined;
  client: ClientSettings;
  timeoutMs: number;
  /** Whether a server may be asked that only a manifest names. */
  mayFollow(target: DialTarget): boolean;
  signal: AbortSignal;
}

/** Who takes part in a fetch, and which version of the file it is about. */
export class Agreement {
  readonly inquiry: ReplicaInquiry;
  readonly replicas: Replica[] = [];
  readonly #settings: AgreementSettings;
  readonly #byName = new Map<string, Replica>();

  constructor(targets: readonly DialTarget[], settings: AgreementSettings) {
    this.#settings = settings;
    this.inquiry = new ReplicaInquiry(settings);
    for (const target of targets) this.inquiry.ask(this.replicaAt(target));
  }

  /** The replica at this address, which is the same each time. */
  replicaAt(target: DialTarget): Replica {
    const name = `${target.host.toLowerCase()} ${target.port}`;
    let replica = this.#byName.get(name);
    if (replica === undefined) {
      replica = new Replica(this.replicas.length, target);
      this.#byName.set(name, replica);
      this.replicas.push(replica);
    }
    return replica;
  }

  /**
   * Which version is fetched. Those that have another one, or none, have their status afterwards.
   * @throws DrayError "not-found", "unreachable"… when nobody has it
   */
  async reach(): Promise<Agreed> {
    await this.inquiry.settled();
    let identity = await this.#decide();
    if (identity.kind === "manifest") {
      const others = identity.manifest.servers.filter(
        (server) => !this.#isKnown(server) && this.#settings.mayFollow(server),
      );
      for (const server of others.slice(0, MAX_WITNESSES)) this.inquiry.ask(this.replicaAt(server));
      if (others.length > 0) {
        await this.inquiry.settled();
        identity = await this.#decide();
      }
    }
    if (identity.kind === "none") throw this.#nobody(identity.outsiders);
    for (const outsider of identity.outsiders) this.putOut(outsider);
    return identity;
  }

  /** One does not take part as a whole file; with parts of the right version it still does. */
  putOut({ replica: id, why }: Outsider): void {
    const replica = this.replicas[id]!;
    replica.status = why.kind === "absent" ? "absent" : "other-version";
    replica.error = outsiderText(why);
  }

  #isKnown({ host, port }: DialTarget): boolean {
    return this.#byName.has(`${host.toLowerCase()} ${port}`);
  }

  async #decide(): Promise<Exclude<Identity<Manifest>, { kind: "tie" }>> {
    const { expected } = this.#settings;
    const identity = decideIdentity(this.inquiry.answers, expected);
    if (identity.kind !== "tie") return identity;
    const same = await this.#compare(identity.groups);
    const decided = decideIdentity(this.inquiry.answers, expected, same);
    if (decided.kind === "tie") throw new DrayError("internal", "a tie that was not broken");
    return decided;
  }

  /** Which of these groups have the same bytes, by what one of each says of its file. */
  async #compare(groups: readonly (readonly ReplicaId[])[]): Promise<ReplicaId[][]> {
    const sets = new Map<string, ReplicaId[]>();
    await Promise.all(
      groups.map(async (group, index) => {
        const content = (await this.#contentOf(group)) ?? `unknown ${index}`;
        sets.set(content, [...(sets.get(content) ?? []), ...group]);
      }),
    );
    return [...sets.values()];
  }

  async #contentOf(group: readonly ReplicaId[]): Promise<string | undefined> {
    const { path } = this.#settings;
    for (const id of group) {
      const { client } = this.replicas[id]!;
      if (client === undefined) continue;
      const hasher = new Bun.CryptoHasher("sha256");
      try {
        await client.sums(
          { path, pieceBytes: TIE_PIECE_BYTES, digest: "xxh3", mayRecall: true },
          { head: () => {}, digest: (digest) => void hasher.update(digest) },
        );
        return hasher.digest("hex");
      } catch (error) {
        this.replicas[id]!.error = asDrayError(error).message; // the next one is asked
      }
    }
    return undefined;
  }

  /** Why there is nothing to fetch. */
  #nobody(outsiders: readonly Outsider[]): DrayError {
    const [first, ...more] = this.replicas;
    if (first !== undefined && more.length === 0) {
      const error = this.inquiry.errorOf(first);
      if (error !== undefined) return error;
    }
    for (const outsider of outsiders) this.putOut(outsider);
    const { expected } = this.#settings;
    for (const { manifest } of this.inquiry.answers) {
      if (expected === undefined || manifest === undefined || manifest === "damaged") continue;
      return unexpectedSum(expected, manifest.root, "nothing was fetched");
    }
    const silent = this.replicas.flatMap((replica) => {
      const error = this.inquiry.errorOf(replica);
      return error === undefined ? [] : [{ replica, error }];
    });
    const said = this.replicas.map((replica) => {
      const error = this.inquiry.errorOf(replica)?.message ?? replica.error ?? "it did not answer in time";
      return `${replica.shown}: ${error}`;
    });
    const { code } = silent.find(({ error }) => error.exitCode !== 4)?.error ?? {
      code: "not-found" as const,
    };
    return new DrayError(code, `none of the servers has it (${said.join("; ")})`);
  }
}

function outsiderText(why: Outsider["why"]): string {
  switch (why.kind) {
    case "absent":
      return "it has no such file";
    case "other-manifest":
      return `it has another version: ${why.sizeBytes} bytes, SHA-256 ${why.root.slice(0, 16)}…, placed ${shownTime(why.placedMs)}`;
    case "other-file":
      return `it has another version: ${why.sizeBytes} bytes, of ${shownTime(why.mtimeUs / 1000)}`;
    case "damaged-manifest":
      return "its manifest is damaged";
  }
}

function shownTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "an impossible time" : date.toISOString();
}
