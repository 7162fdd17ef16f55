import type { DrayError } from "../errors/dray-error.ts";
import type { Client } from "../transfer/client.ts";
import type { DigestKind } from "../wire/digest.ts";
import { MAX_EAGER_BYTES } from "../wire/messages.ts";
import type { UploadSource } from "../transfer/upload-sender.ts";
import type { LocalFile } from "./local-files.ts";

/** An attempt that got so far has been worth it: it does not count against the limit. */
const PROGRESS_BYTES = 1024 * 1024;

/** What is sent of a file, open. */
export interface OpenedFile extends UploadSource {
  readonly facts: { readonly sizeBytes: number; readonly mtimeUs: number; readonly mode: number };
  close(): void;
}

/** Opens what is to be put. */
export interface FileOpener {
  /** @throws DrayError, or a system error */
  open(file: LocalFile): OpenedFile;
}

/** One file on its way to one server. */
export interface PutTask {
  file: LocalFile;
  /** Failures in a row without any progress. */
  failures: number;
}

export interface PutOutcome {
  sizeBytes: number;
  resumedBytes: number;
}

/**
 * Puts one file once.
 * @param sent told of each piece
 * @throws DrayError
 */
export async function putOnce(
  client: Client,
  { file }: PutTask,
  opener: FileOpener,
  digest: DigestKind,
  sent: (bytes: number) => void,
): Promise<PutOutcome> {
  const source = opener.open(file);
  try {
    const { sizeBytes: size, mtimeUs, mode } = source.facts;
    const request = { path: file.path, size, mtimeUs, mode, digest, eager: size <= MAX_EAGER_BYTES };
    return { sizeBytes: size, resumedBytes: await client.put(request, source, sent) };
  } finally {
    source.close();
  }
}

/** How an attempt ended. */
export interface Failure {
  error: DrayError;
  /**
   * Whether the connection ended, and with what part of this task in it: `bystander` if others were
   * under way, `cause` if this one was.
   */
  connection: "open" | "cause" | "bystander";
  /** Of the file, in this attempt. */
  sentBytes: number;
}

/**
 * Whether a task that failed is tried again. A connection that broke the protocol is taken for one that
 * was damaged on its way (docs/PROTOCOL.md, "Errors").
 * @param attempts how many failures in a row are taken
 */
export function isWorthRetrying(
  task: PutTask,
  { error, connection, sentBytes }: Failure,
  attempts: number,
): boolean {
  if (connection === "bystander") return true;
  // A lock may be that of our own last connection, or process: the server has not seen the end of it yet.
  const canPass =
    (connection === "cause" && error.code === "protocol") || error.code === "locked" || error.retryable;
  if (!canPass) return false;
  if (connection === "cause" && sentBytes >= PROGRESS_BYTES) task.failures = 0;
  task.failures++;
  return task.failures < attempts;
}
