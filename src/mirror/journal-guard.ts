import { DrayError } from "../errors/dray-error.ts";

/** 52 bits, which a double and SQLite's integers both hold. */
export function checksumOf(text: string): number {
  return Number(Bun.hash.xxHash3(text) & 0xf_ffff_ffff_ffffn);
}

export function damaged(what: string): DrayError {
  return new DrayError("integrity", `the journal is damaged at ${what}`);
}

/**
 * Does something with the journal's database, with SQLite's errors as ours.
 * @throws DrayError "no-space", "refused" (in use), "integrity" (damaged) or "storage"
 */
export function guard<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DrayError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const message = error instanceof Error ? error.message : String(error);
    if (code === "SQLITE_FULL")
      throw new DrayError("no-space", "no space left for the journal", { cause: error });
    if (code === "SQLITE_BUSY") throw new DrayError("refused", "the journal is in use", { cause: error });
    if (
      /CORRUPT|NOTADB/.test(code) ||
      error instanceof SyntaxError ||
      (error instanceof Error && error.name.includes("Zod"))
    ) {
      throw new DrayError("integrity", `the journal is damaged: ${message}`, { cause: error });
    }
    throw new DrayError("storage", `the journal cannot be used: ${message}`, { cause: error });
  }
}
