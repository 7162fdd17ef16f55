import type { NamePlatform } from "../names.ts";
import { ROOT_GUARD_DEFAULTS, type RootGuardSettings } from "../root-guard.ts";
import { SETTLE_DEFAULTS, type SettleSettings } from "../settle.ts";
import { VERSION_DEFAULTS, type VersionLimits } from "../version-retention.ts";

export interface AgentSettings {
  readonly host: string;
  /** The server's receive port. */
  readonly sendPort: number;
  /** The server's send port. */
  readonly receivePort: number;
  /** Data in one File Chunk message, 1 to 64 MiB. */
  readonly chunkBytes: number;
  /** Stands in the names of conflict copies. */
  readonly hostName: string;
  readonly platform: NamePlatform;
  readonly settle: SettleSettings;
  readonly guard: RootGuardSettings;
  readonly versions: VersionLimits;
  /** What one side lacks after the two were apart is given to it, instead of being deleted on the other (the seed's literal rule). */
  readonly resurrects: boolean;
  /** A file that the server refused because it was locked is offered again after this; 0: never. */
  readonly lockedRetryMs: number;
  readonly dialTimeoutMs: number;
  readonly listTimeoutMs: number;
  /** How long our own server may be silent. */
  readonly silenceMs: number;
  /** How long an answer that has to come may take. */
  readonly answerMs: number;
  /** How long a server that is not ours may take to answer Close and Delete, which it may never do. */
  readonly optionalAnswerMs: number;
  readonly windowBytes: number;
  readonly rescanMs: number;
  readonly backoff: { readonly firstMs: number; readonly maxMs: number };
}

export const AGENT_DEFAULTS = {
  settle: SETTLE_DEFAULTS,
  guard: ROOT_GUARD_DEFAULTS,
  versions: VERSION_DEFAULTS,
  resurrects: false,
  lockedRetryMs: 30_000,
  dialTimeoutMs: 10_000,
  listTimeoutMs: 10_000,
  silenceMs: 100_000,
  answerMs: 60_000,
  optionalAnswerMs: 3_000,
  windowBytes: 8 * 1024 * 1024,
  rescanMs: 300_000,
  backoff: { firstMs: 250, maxMs: 30_000 },
} as const satisfies Partial<AgentSettings>;
