import type { ContainedRoot } from "../disk/contained-root.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { FileSums } from "./file-sums.ts";

/** Byte counts of everything that is being fetched, for progress. */
export interface FetchCounters {
  /** Of the files: what is there, whether it came just now or before. */
  doneBytes: number;
  /** File bytes that crossed the network. */
  transferredBytes: number;
  /** What was there already when a part was gone on with. */
  resumedBytes: number;
  /** What was copied from an older file of the same name. */
  seededBytes: number;
  /** What crossed the network and was not needed: it came twice, or was wrong. */
  wastedBytes: number;
}

/** The same for all files of one fetch. */
export interface FetchSetting {
  /** The directory that everything goes to. */
  readonly root: ContainedRoot;
  sums: FileSums;
  /** Whether the SHA-256 of each file is wanted. */
  withSums: boolean;
  /** Destroy what stands in a file's place instead of keeping it under another name. */
  overwrite: boolean;
  /** Sync each file before it becomes visible; otherwise somebody syncs them all in the end. */
  syncEach: boolean;
  counters: FetchCounters;
  /** The first bytes of a file are asked for; so many of it were there already. */
  started(path: string, sizeBytes: number, resumedBytes: number): void;
  /** What was there of a file cannot be gone on with, and why. */
  startedOver(path: string, why: string): void;
}

export interface WantedFile {
  /** Its path at the server. */
  path: string;
  /** Where it goes, from the root. */
  components: readonly string[];
  /** The SHA-256 that it must have, in lower-case hexadecimal. */
  expected: string | undefined;
}

export interface FetchedFile {
  outcome: "fetched" | "unchanged";
  sizeBytes: number;
  sha256: string | undefined;
  /** Under which name the file is kept that stood in its place. */
  backup: string | undefined;
}

/** An error that trying again would only repeat, whatever its code says. */
export class FinalError extends DrayError {
  override get retryable(): boolean {
    return false;
  }
}

/** The file is whole, and another one than was expected. @param fate what became of it */
export function unexpectedSum(expected: string, found: string | undefined, fate: string): FinalError {
  return new FinalError("integrity", `its SHA-256 is ${found}, but ${expected} was expected: ${fate}`);
}
