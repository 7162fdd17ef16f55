/** A file, directory or link of a recorded disk; 0 is the root. */
export type InodeNumber = number;

/** What a call has made, before it has a name. */
export interface Made {
  inode: InodeNumber;
  kind: "file" | "directory" | "symlink";
  mode: number;
  /** Of a symbolic link. */
  target: string;
}

export interface NamePart {
  directory: InodeNumber;
  name: string;
  /** Undefined: the name goes. */
  inode: InodeNumber | undefined;
}

/** What a program did to its disk, in terms of inodes, so that its steps can be put into another order. */
export type Change =
  | { kind: "names"; parts: readonly NamePart[]; made: Made | undefined }
  | { kind: "write"; inode: InodeNumber; offset: number; bytes: Uint8Array }
  | { kind: "truncate"; inode: InodeNumber; sizeBytes: number }
  | { kind: "mode"; inode: InodeNumber; mode: number }
  | { kind: "time"; inode: InodeNumber; mtimeNs: bigint }
  /** A sync covers what was there when it began, once it has ended. */
  | { kind: "sync-begins"; sync: number; of: InodeNumber | "everything" }
  | { kind: "sync-ends"; sync: number }
  /** Something was told to whoever gave the order. */
  | { kind: "said"; text: string };

export type Operation = Change & {
  /** Milliseconds since 1970. */
  atMs: number;
  /** For people: the call, with the path. */
  shown: string;
};

/** Whether a crash right behind it can find something else than one before it. */
export function isBoundary({ kind }: Operation): boolean {
  return kind !== "sync-begins";
}
