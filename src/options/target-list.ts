import * as z from "zod";
import { isHost, withoutBrackets } from "./host.ts";
import type { OptionType } from "./option-type.ts";

/** A server of the dray protocol. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** Most servers of one command: as many as a manifest can name. */
const MAX_TARGETS = 1024;
const EXPECTS = "HOST:PORT, comma separated; IPv6 addresses in brackets";
const message = `expected ${EXPECTS}`;

const targets: z.ZodType<Target[], Target[]> = z
  .array(z.custom<Target>())
  .min(1, "expected at least one server")
  .max(MAX_TARGETS, `expected at most ${MAX_TARGETS} servers`)
  .refine((list) => new Set(list.map(formatTarget)).size === list.length, "expected each server only once");

const schema = z.codec(z.union([z.string(message), z.array(z.string(message), message)], message), targets, {
  decode: (value, context) => {
    const items = (typeof value === "string" ? [value] : value).flatMap((text) => text.split(","));
    return items.flatMap((text) => {
      const target = parseTarget(text.trim());
      if (target !== undefined) return target;
      context.issues.push({ code: "custom", input: text, message: `"${text}": expected HOST:PORT` });
      return [];
    });
  },
  encode: (list) => list.map(formatTarget),
});

/** Servers as `host:port,[::1]:port`; in JSON also a list of such texts. */
export function targetList(): OptionType<Target[]> {
  return { schema: () => schema, expects: EXPECTS, shape: "list", fromText: (text) => text };
}

function parseTarget(text: string): Target | undefined {
  const [, written, digits] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text) ?? [];
  if (written === undefined || digits === undefined) return undefined;
  const host = withoutBrackets(written);
  const port = Number(digits);
  return isHost(host) && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

function formatTarget({ host, port }: Target): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
