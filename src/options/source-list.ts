import * as z from "zod";
import { durationSchema, hostSchema, integerSchema, type OptionType } from "./option-type.ts";
import { formatSource, MAX_DELAY_MS, MAX_PATH_BYTES, parseSources, type Source } from "./sources.ts";

/** Most sources of one order. */
export const MAX_SOURCES = 256;

const EXPECTS = "host:port:dirorfile:delay, comma separated";

/** Sources of a mirror order: the text form of sources.ts, in JSON also a list of texts and objects. */
export function sourceList(): OptionType<Source[]> {
  return { schema: sourceListSchema, expects: EXPECTS, shape: "list", fromText: (text) => text };
}

function sourceListSchema(): z.ZodType<Source[]> {
  const sourceObject = z.strictObject(
    {
      host: hostSchema(),
      port: integerSchema(1, 65_535),
      path: z
        .string("expected a path")
        .refine(
          (path) => path !== "" && Buffer.byteLength(path) <= MAX_PATH_BYTES,
          `expected a path of 1 to ${MAX_PATH_BYTES} bytes`,
        ),
      delay: durationSchema(0, MAX_DELAY_MS, "a delay from 0 to 86400 (seconds) or a text such as 1.5s"),
    },
    {
      error: (issue) =>
        issue.code === "unrecognized_keys"
          ? `unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(", ")} (known: host, port, path, delay)`
          : `expected ${EXPECTS}, or an object with host, port, path and delay`,
    },
  );

  const message = `expected ${EXPECTS}`;
  const written = z.union(
    [z.string(message), z.array(z.union([z.string(message), sourceObject], message), message)],
    message,
  );
  const decoded: z.ZodType<Source[], Source[]> = z
    .array(z.custom<Source>())
    .min(1, "expected at least one source")
    .max(MAX_SOURCES, `expected at most ${MAX_SOURCES} sources`);

  return z.codec(written, decoded, {
    decode: (value, context) => {
      const sources: Source[] = [];
      let number = 1;
      for (const [index, part] of (typeof value === "string" ? [value] : value).entries()) {
        if (typeof part !== "string") {
          sources.push({ host: part.host, port: part.port, path: part.path, delayMs: part.delay });
          number += 1;
          continue;
        }
        const parsed = parseSources(part, number);
        number += parsed.sources.length + parsed.problems.length;
        sources.push(...parsed.sources);
        for (const { number: item, text, why } of parsed.problems) {
          const path = typeof value === "string" ? [] : [index];
          context.issues.push({
            code: "custom",
            input: part,
            path,
            message: `item ${item} "${text}": ${why}`,
          });
        }
      }
      return sources;
    },
    encode: (sources) => sources.map(formatSource),
  });
}
