import { createReadStream } from "node:fs";
import { asDrayError } from "../errors/dray-error.ts";
import { shown } from "./shown.ts";

/** Largest configuration that is read, from a file or from stdin. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/**
 * The keys and values of a JSON configuration, or why there are none.
 *
 * @param path a file (or anything that can be read like one), or `-` for `stdin`
 */
export async function readConfig(
  path: string,
  stdin: () => AsyncIterable<Uint8Array>,
): Promise<{ readonly entries: [string, unknown][] } | { readonly problem: string }> {
  let text: string | undefined;
  try {
    text = await readLimited(path === "-" ? stdin() : createReadStream(path));
  } catch (error) {
    return { problem: `cannot be read: ${asDrayError(error).message}` };
  }
  if (text === undefined) return { problem: `is larger than ${MAX_CONFIG_BYTES} bytes` };
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (error) {
    return { problem: `is not valid JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    return { problem: `expected a JSON object, got ${shown(config)}` };
  }
  return { entries: Object.entries(config) };
}

/** Reads to the end; undefined as soon as there is more than the limit. */
async function readLimited(chunks: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const taken: Uint8Array[] = [];
  let lengthBytes = 0;
  for await (const chunk of chunks) {
    lengthBytes += chunk.byteLength;
    if (lengthBytes > MAX_CONFIG_BYTES) return undefined;
    taken.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(taken));
}
