import * as z from "zod";
import type { OptionType } from "./option-type.ts";

/** More than any command line holds. */
const MAX_PATHS = 1_000_000;
const MAX_PATH_CHARACTERS = 4096;

/** Paths, here or on a server; commas are part of them. */
export function pathList(): OptionType<string[]> {
  const expects = "a list of paths";
  const schema = (): z.ZodType<string[]> => {
    const one = z
      .string("expected a path")
      .regex(/^[^\0]+$/, "expected a path")
      .max(MAX_PATH_CHARACTERS, `expected a path of at most ${MAX_PATH_CHARACTERS} characters`);
    const paths = z.array(one, `expected ${expects}`).min(1, "expected at least one path").max(MAX_PATHS);
    return z.codec(z.union([z.string(), paths], `expected ${expects}`), paths, {
      decode: (value) => (typeof value === "string" ? [value] : value),
      encode: (value) => value,
    });
  };
  return { schema, expects, shape: "list", fromText: (text) => text };
}
