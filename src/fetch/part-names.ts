import { MAX_COMPONENT_BYTES } from "../wire/names.ts";

/** The files that stand beside a final name until it is there. */
export interface PartNames {
  part: string;
  journal: string;
  lock: string;
}

const SUFFIXES: PartNames = { part: ".part", journal: ".part-journal", lock: ".part-lock" };
const LONGEST_SUFFIX_BYTES = Math.max(...Object.values(SUFFIXES).map((suffix: string) => suffix.length));

/** A name that would become too long with a suffix is cut, and a digest of all of it put in that place. */
export function partNames(name: string): PartNames {
  const stem = stemOf(name);
  return {
    part: stem + SUFFIXES.part,
    journal: stem + SUFFIXES.journal,
    lock: stem + SUFFIXES.lock,
  };
}

function stemOf(name: string): string {
  const mostBytes = MAX_COMPONENT_BYTES - LONGEST_SUFFIX_BYTES;
  if (Buffer.byteLength(name) <= mostBytes) return name;
  const tag = `~${Bun.hash.xxHash3(name).toString(36)}`;
  let cut = "";
  let cutBytes = tag.length;
  for (const character of name) {
    cutBytes += Buffer.byteLength(character);
    if (cutBytes > mostBytes) break;
    cut += character;
  }
  return cut + tag;
}
