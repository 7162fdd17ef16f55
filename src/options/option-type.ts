import * as z from "zod";
import { isHost, withoutBrackets } from "./host.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.ts";

// A command parses few things, most of them once: to compile a parser for each takes longer than it saves.
z.config({ jitless: true });

/** What an option may hold, in every spelling: text of a flag or a variable, JSON, and the program's value. */
export interface OptionType<T> {
  /**
   * Takes what JSON may hold, gives the program's value; `z.encode` goes back. Made when it is asked for:
   * few options of a command are given, and to make the schemas of all takes milliseconds.
   */
  schema(): z.ZodType<T>;
  /** Completes "expected …" and stands in the reference: range, units and an example. */
  readonly expects: string;
  /** A switch takes no value as a flag; a list may be given several times. */
  readonly shape: "value" | "switch" | "list";
  /** Every allowed word, where there are only a few. */
  readonly choices?: readonly string[];
  /** What JSON would hold for a text; text that fits nothing comes back as it is, for the schema to refuse. */
  fromText(text: string): unknown;
}

export function integer(least: number, most: number): OptionType<number> {
  const expects = `a whole number from ${least} to ${most}`;
  const schema = (): z.ZodType<number> => integerSchema(least, most);
  return { schema, expects, shape: "value", fromText: integerFromText };
}

export function integerSchema(least: number, most: number): z.ZodType<number> {
  const message = `expected a whole number from ${least} to ${most}`;
  return z.int(message).min(least, message).max(most, message);
}

export function toggle(): OptionType<boolean> {
  const expects = "true or false";
  const words: Record<string, boolean> = {
    true: true,
    yes: true,
    on: true,
    1: true,
    false: false,
    no: false,
    off: false,
    0: false,
  };
  return {
    schema: () => z.boolean(`expected ${expects}`),
    expects,
    shape: "switch",
    fromText: (text) => (Object.hasOwn(words, text) ? words[text] : text),
  };
}

export function choice<const Word extends string>(...choices: readonly [Word, ...Word[]]): OptionType<Word> {
  const expects = [choices.slice(0, -1).join(", "), choices.at(-1)].filter(Boolean).join(" or ");
  const schema = (): z.ZodType<Word> => z.literal([...choices], `expected ${expects}`);
  return { schema, expects, shape: "value", choices, fromText: (text) => text };
}

/** A path of the local file system. Whether it exists is for the option's `check`. */
export function localPath(): OptionType<string> {
  const expects = "a path";
  const schema = (): z.ZodType<string> =>
    z.string(`expected ${expects}`).regex(/^[^\0]+$/, `expected ${expects}`);
  return { schema, expects, shape: "value", fromText: (text) => text };
}

export function host(): OptionType<string> {
  const expects = "a host name or an IP address";
  return { schema: hostSchema, expects, shape: "value", fromText: (text) => text };
}

export function hostSchema(): z.ZodType<string> {
  const message = "expected a host name or an IP address";
  return z.codec(z.string(message), z.string().refine(isHost, message), {
    decode: withoutBrackets,
    encode: (value) => value,
  });
}

/** Texts, one each time the flag is given; a variable can give one. */
export function textList(one: string): OptionType<string[]> {
  const expects = `a list of texts, each ${one}`;
  const schema = (): z.ZodType<string[]> => {
    const texts = z.array(z.string(`expected ${one}`).min(1).max(1024), `expected ${expects}`).max(256);
    return z.codec(z.union([z.string(), texts], `expected ${expects}`), texts, {
      decode: (value) => (typeof value === "string" ? [value] : value),
      encode: (value) => value,
    });
  };
  return { schema, expects, shape: "list", fromText: (text) => text };
}

/** An order as the mirror names it. */
export function orderId(): OptionType<string> {
  const expects = "the id of an order";
  const schema = (): z.ZodType<string> =>
    z.string(`expected ${expects}`).regex(/^[0-9a-z]{1,64}$/, `expected ${expects}`);
  return { schema, expects, shape: "value", fromText: (text) => text };
}

/** A time, held in milliseconds. A bare number means seconds. */
export function duration(leastMs: number, mostMs: number): OptionType<number> {
  const expects = `a time from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}, such as 30s, 200ms, 5m or 0.5 (seconds)`;
  return {
    schema: () => durationSchema(leastMs, mostMs, expects),
    expects,
    shape: "value",
    fromText: (text) => text,
  };
}

export function durationSchema(leastMs: number, mostMs: number, expects: string): z.ZodType<number> {
  return quantity(leastMs, mostMs, expects, {
    decode: (value) =>
      typeof value === "number" ? Math.round(value * 1000) : (parseDuration(value) ?? Number.NaN),
    encode: formatDuration,
  });
}

/** A size, held in bytes. A bare number means bytes. */
export function size(leastBytes: number, mostBytes: number): OptionType<number> {
  const expects = `a size from ${formatSize(leastBytes)} to ${formatSize(mostBytes)}, such as 64MiB, 1GB or 500k (k is 1024, kB is 1000)`;
  const schema = (): z.ZodType<number> =>
    quantity(leastBytes, mostBytes, expects, {
      decode: (value) => (typeof value === "number" ? value : (parseSize(value) ?? Number.NaN)),
      encode: formatSize,
    });
  return { schema, expects, shape: "value", fromText: (text) => text };
}

const UNLIMITED = "unlimited";
const MIN_BANDWIDTH = 16 * 1024;
const MAX_BANDWIDTH = 1024 ** 4;

/** A bandwidth limit, held in bytes per second, 0 for none. A bare number means bytes per second. */
export function bandwidth(): OptionType<number> {
  const expects = `a rate per second from ${formatSize(MIN_BANDWIDTH)} to ${formatSize(MAX_BANDWIDTH)}, such as 5MiB or 500k (k is 1024, kB is 1000), or ${UNLIMITED}`;
  const message = `expected ${expects}`;
  const schema = (): z.ZodType<number> => {
    const held = z
      .int(message)
      .refine((rate) => rate === 0 || (rate >= MIN_BANDWIDTH && rate <= MAX_BANDWIDTH), message);
    return z.codec(z.union([z.number(), z.string()], message), held, {
      decode: (value) => {
        if (typeof value === "number") return value;
        return value === UNLIMITED ? 0 : (parseSize(value) ?? Number.NaN);
      },
      encode: (rate) => (rate === 0 ? UNLIMITED : formatSize(rate)),
    });
  };
  return { schema, expects, shape: "value", fromText: (text) => text };
}

interface QuantityCodec {
  decode(value: number | string): number;
  encode(value: number): string;
}

function quantity(least: number, most: number, expects: string, codec: QuantityCodec): z.ZodType<number> {
  const message = `expected ${expects}`;
  const written = z.union([z.number(), z.string()], message);
  return z.codec(written, z.int(message).min(least, message).max(most, message), codec);
}

function integerFromText(text: string): unknown {
  return /^-?\d+$/.test(text) ? Number(text) : text;
}
