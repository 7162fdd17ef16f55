import { guardDatabase } from "../disk/database.ts";
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
  return guardDatabase("the journal", () => {
    try {
      return work();
    } catch (error) {
      const isUnreadable =
        error instanceof SyntaxError || (error instanceof Error && error.name.includes("Zod"));
      if (!isUnreadable) throw error;
      throw new DrayError("integrity", `the journal is damaged: ${error.message}`, { cause: error });
    }
  });
}
