import { NO_MD5 } from "./sync-messages.ts";
import { PRIVATE_FOLDER } from "./sync-reserved.ts";

/** Who sends META-DATA: in the fields of its first line, when it is dray. */
export interface MetadataServer {
  /** Of this server and its folder, for ever; letters and digits. */
  id: string;
}

/** One file in META-DATA. */
export interface MetadataEntry {
  name: string;
  /** Microseconds since 1970; undefined where a third party's line does not say it, as in the others. */
  mtimeUs: number | undefined;
  sizeBytes: number | undefined;
  /** 16 bytes, of the whole file. */
  md5: Uint8Array | undefined;
  /** Grows with every version of any file on the server; only dray sends it. */
  sequence: number | undefined;
  isDeleted: boolean;
}

/** An entry of our own, where all is known. */
export type KnownMetadataEntry = { [Key in keyof MetadataEntry]-?: NonNullable<MetadataEntry[Key]> };

/**
 * The lines of META-DATA (docs/SYNC-PROTOCOL.md), each with its line feed. The server's id is in the
 * fields of the first; if there are no entries, in a line for the reserved name `.dray`, so that a
 * client knows at once whom it talks to.
 */
export function* metadataLines(
  server: MetadataServer,
  entries: Iterable<KnownMetadataEntry>,
): Generator<string, void> {
  const field = `\tserver=${server.id}`;
  let isFirst = true;
  for (const entry of entries) {
    yield `${metadataLine(entry)}${isFirst ? field : ""}\n`;
    isFirst = false;
  }
  if (isFirst) yield `${metadataLine(nobody)}${field}\n`;
}

const nobody: KnownMetadataEntry = {
  name: PRIVATE_FOLDER,
  mtimeUs: 0,
  sizeBytes: 0,
  md5: NO_MD5,
  sequence: 0,
  isDeleted: false,
};

function metadataLine(entry: KnownMetadataEntry): string {
  const magnitudeUs = Math.abs(entry.mtimeUs);
  const seconds = Math.floor(magnitudeUs / 1_000_000);
  const fraction = String(magnitudeUs - seconds * 1_000_000).padStart(6, "0");
  const fields = [
    entry.name.replaceAll(/[%\p{Cc}]/gu, escapeCharacter),
    `${entry.mtimeUs < 0 ? "-" : ""}${seconds}.${fraction}`,
    String(entry.sizeBytes),
    Buffer.from(entry.md5).toString("hex"),
    `sequence=${entry.sequence}`,
  ];
  if (entry.isDeleted) fields.push("deleted=1");
  return fields.join("\t");
}

function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`;
}

/** The server's id in a line of META-DATA that dray wrote. */
export function metadataServerOf(line: string): MetadataServer | undefined {
  const id = /\tserver=([0-9A-Za-z]{1,64})(?:\t|$)/.exec(line)?.[1];
  return id === undefined ? undefined : { id };
}

/**
 * The file in a line of META-DATA without its line end, read leniently: fields that are missing or
 * make no sense are undefined, unknown ones are passed over.
 * @returns undefined for a line that says nothing about a file
 */
export function parseMetadataLine(line: string): MetadataEntry | undefined {
  const [rawName, ...fields] = line.includes("\t") ? line.split("\t") : splitAtBlanks(line);
  if (rawName === undefined || rawName === "" || fields.length === 0) return undefined;
  const named = new Map<string, string>();
  const plain: string[] = [];
  for (const field of fields) {
    const [, key, value] = /^([a-z][a-z0-9-]*)=(.*)$/.exec(field) ?? [];
    if (key !== undefined && value !== undefined) named.set(key, value);
    else plain.push(field.trim());
  }
  const md5 = plain.find((field) => /^[0-9a-fA-F]{32}$/.test(field));
  const [seconds, sizeBytes] = plain.filter((field) => field !== md5);
  const entry: MetadataEntry = {
    name: rawName.replaceAll(/%(?:25|7F|[0189][0-9A-F])/gi, (text) =>
      String.fromCharCode(parseInt(text.slice(1), 16)),
    ),
    mtimeUs: microsecondsOf(seconds),
    sizeBytes: wholeNumberOf(sizeBytes),
    md5: md5 === undefined ? undefined : new Uint8Array(Buffer.from(md5, "hex")),
    sequence: wholeNumberOf(named.get("sequence")),
    isDeleted: named.get("deleted") === "1",
  };
  const saysNothing = entry.mtimeUs === undefined && entry.sizeBytes === undefined && md5 === undefined;
  return saysNothing ? undefined : entry;
}

/**
 * `name with blanks 1700000000 12 0123…`, as somebody else may write it: up to three values are cut
 * off the end. Looks at no more than that end, so that a long line costs little.
 */
function splitAtBlanks(line: string): string[] {
  let name = line.trimEnd();
  const values: string[] = [];
  while (values.length < 3) {
    const found = /[ ,;|](-?\d{1,16}(?:\.\d{1,12})?|[0-9a-fA-F]{32})$/.exec(name.slice(-40));
    if (found?.[1] === undefined) break;
    values.unshift(found[1]);
    name = name.slice(0, -found[1].length - 1).replace(/[ ,;|]{1,8}$/, "");
  }
  return [name, ...values];
}

/** Exact to the microsecond, unlike a multiplication. */
function microsecondsOf(seconds: string | undefined): number | undefined {
  const [, sign, whole, fraction = ""] = /^(-?)(\d{1,12})(?:\.(\d+))?$/.exec(seconds ?? "") ?? [];
  if (whole === undefined) return undefined;
  const microseconds = Number(whole) * 1_000_000 + Number(fraction.slice(0, 6).padEnd(6, "0"));
  const value = sign === "-" ? -microseconds : microseconds;
  return Number.isSafeInteger(value) ? value : undefined;
}

function wholeNumberOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
