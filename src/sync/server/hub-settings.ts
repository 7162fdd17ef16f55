import type { VersionLimits } from "../version-retention.ts";

/** What the one who runs a hub decides. */
export interface HubSettings {
  /** To listen on. */
  readonly address: string;
  /** Where updates are sent; 0 picks a free one. */
  readonly sendPort: number;
  /** Where updates are taken; 0 picks a free one. */
  readonly receivePort: number;
  /** Connections of both ports together. */
  readonly maxConnections: number;
  /** Of one address; of IPv6, of one network of 64 bits. */
  readonly maxPerAddress: number;
  /** Files that one connection may be uploading at the same time. */
  readonly maxUploads: number;
  /** Files that all connections together may be uploading: each is an open file. */
  readonly maxUploadsInAll: number;
  /** Files and remembered deletes together. */
  readonly maxNames: number;
  /** A chunk that claims more is refused. */
  readonly maxChunkBytes: number;
  /** A larger file is refused. */
  readonly maxFileBytes: number;
  /** Data in a chunk to clients that are not ours; ours get larger ones. */
  readonly chunkBytes: number;
  /** A lock without progress for this long ends when somebody else wants it. */
  readonly leaseMs: number;
  /** A client that answers chunks, and leaves one without an answer for this long, is dropped. */
  readonly answerTimeoutMs: number;
  /** A client hears something at least this often. */
  readonly keepAliveMs: number;
  /** Jobs (commits, opening files) at the same time. */
  readonly workers: number;
  readonly versions: VersionLimits;
  /** Files that are gone from the folder when the hub starts are deleted at the clients, however many they are. */
  readonly acceptsMissing: boolean;
}

/** What happens in a hub, for its log and for programs. */
export type HubEvent =
  | {
      readonly type: "connected" | "disconnected";
      readonly peer: string;
      readonly channel: "send" | "receive";
      readonly connections: number;
      readonly error?: string;
    }
  | { readonly type: "paired"; readonly peer: string; readonly isExact: boolean }
  | {
      readonly type: "changed";
      readonly name: string;
      readonly sequence: number;
      readonly bytes: number;
      readonly md5: string;
      readonly by: string;
    }
  | { readonly type: "deleted"; readonly name: string; readonly sequence: number; readonly by: string }
  | { readonly type: "delivered"; readonly name: string; readonly sequence: number; readonly to: string }
  | { readonly type: "given-up"; readonly name: string; readonly sequence: number; readonly to: string }
  | { readonly type: "refused"; readonly name: string; readonly peer: string; readonly why: string };

/** Where a hub tells what happens. */
export interface HubObserver {
  event(event: HubEvent): void;
  info(message: string): void;
  /** Something that who runs the hub should know. */
  warn(message: string): void;
}
