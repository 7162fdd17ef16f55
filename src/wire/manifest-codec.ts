import { DrayError } from "../errors/dray-error.ts";
import { type DigestKind, digestBytes } from "./digest.ts";
import {
  MANIFEST_LIMITS,
  type Manifest,
  type ManifestPart,
  type ManifestServer,
  partCount,
  partSize,
  pieceCount,
  serverText,
} from "./manifest.ts";
import { BLOCK_BYTES } from "./piece-digest.ts";

const FORMAT = "dray-manifest-1";
const FORMAT_FAMILY = /^dray-manifest-\d+$/;
const MAX_PIECE_BYTES = 2 ** 42;
/** Of the JSON text: more objects, lists and commas than any manifest within the limits has are not even parsed. */
const MAX_BRACKETS = 2 * MANIFEST_LIMITS.parts + MANIFEST_LIMITS.servers + 3;
const MAX_COMMAS = MANIFEST_LIMITS.parts * (MANIFEST_LIMITS.copies + 2) + MANIFEST_LIMITS.servers + 16;

/**
 * A manifest as its file holds it: one line of JSON, and in a second line the SHA-256 of the first one.
 * @throws DrayError "internal" for one that decodeManifest would refuse
 */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const line = `${manifestLine(manifest)}\n`;
  const bytes = new TextEncoder().encode(`${line}${sha256Hex(line)}\n`);
  try {
    decodeManifest(bytes);
  } catch (error) {
    throw new DrayError("internal", "a manifest that cannot be read back", { cause: error });
  }
  return bytes;
}

/**
 * What encodeManifest has made. Exactly that: any other spelling is refused.
 * @throws DrayError "integrity" that says what is wrong, "unsupported" for the format of a newer dray
 */
export function decodeManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MANIFEST_LIMITS.manifestBytes)
    throw wrong(`it is larger than ${MANIFEST_LIMITS.manifestBytes} bytes`);
  const lineEnd = bytes.indexOf(0x0a);
  const line = bytes.subarray(0, lineEnd + 1);
  const expected = `${sha256Hex(line)}\n`;
  if (lineEnd < 0 || Buffer.from(bytes.subarray(lineEnd + 1)).toString("latin1") !== expected)
    throw wrong("it does not match its own checksum");
  const manifest = parse(line.subarray(0, -1));
  // No second spelling, no field that is dropped: what comes back out is what came in.
  if (Buffer.compare(Buffer.from(`${manifestLine(manifest)}\n`), line) !== 0)
    throw wrong("it is not in canonical form");
  return manifest;
}

function manifestLine(manifest: Manifest): string {
  const { sizeBytes, mtimeUs, mode, root, pieceBytes, partBytes, digest, placedMs, copies } = manifest;
  return JSON.stringify({
    format: FORMAT,
    sizeBytes,
    mtimeUs,
    mode,
    root,
    pieceBytes,
    partBytes,
    digest,
    placedMs,
    copies,
    servers: manifest.servers.map(serverText),
    parts: manifest.parts.map(({ sha256, holders }) => ({ sha256, holders })),
    pieces: Buffer.from(manifest.pieces).toString("base64"),
  });
}

function parse(line: Uint8Array): Manifest {
  const fields = parseObject(line);
  const format = fields["format"];
  if (format !== FORMAT) {
    if (typeof format === "string" && FORMAT_FAMILY.test(format))
      throw new DrayError(
        "unsupported",
        `the manifest is of the format ${format}, which this dray does not know`,
      );
    throw wrong("it has no format that is known");
  }
  const sizeBytes = integer(fields, "sizeBytes", 0, Number.MAX_SAFE_INTEGER);
  const pieceBytes = integer(fields, "pieceBytes", BLOCK_BYTES, MAX_PIECE_BYTES);
  if (!Number.isInteger(Math.log2(pieceBytes))) throw wrong("its pieceBytes are no power of two");
  const partBytes = integer(fields, "partBytes", pieceBytes, Number.MAX_SAFE_INTEGER);
  if (partBytes % pieceBytes !== 0) throw wrong("its parts do not consist of whole pieces");
  if (partCount({ sizeBytes, partBytes }) > MANIFEST_LIMITS.parts) throw wrong("it has too many parts");
  if (pieceCount({ sizeBytes, pieceBytes }) > MANIFEST_LIMITS.pieces) throw wrong("it has too many pieces");
  const servers = list(fields, "servers", MANIFEST_LIMITS.servers).map(parseServer);
  if (new Set(servers.map(serverText)).size !== servers.length) throw wrong("it names a server twice");
  const digest = parseDigest(fields["digest"]);
  return {
    sizeBytes,
    mtimeUs: integer(fields, "mtimeUs", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    mode: integer(fields, "mode", 0, 0o7777),
    root: sha256Field(fields, "root"),
    pieceBytes,
    partBytes,
    digest,
    placedMs: integer(fields, "placedMs", 0, MANIFEST_LIMITS.placedMs),
    copies: integer(fields, "copies", 1, MANIFEST_LIMITS.copies),
    servers,
    parts: parseParts(fields, { sizeBytes, partBytes }, servers.length),
    pieces: parsePieces(fields["pieces"], pieceCount({ sizeBytes, pieceBytes }) * digestBytes(digest)),
  };
}

type Fields = Record<string, unknown>;

function parseObject(line: Uint8Array): Fields {
  let [brackets, commas] = [0, 0];
  for (const byte of line) {
    if (byte === 0x5b || byte === 0x7b) brackets++;
    else if (byte === 0x2c) commas++;
  }
  if (brackets > MAX_BRACKETS || commas > MAX_COMMAS) throw wrong("it has too many parts or copies");
  try {
    return asFields(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line)), "it");
  } catch (error) {
    if (error instanceof DrayError) throw error;
    throw wrong("it is no JSON", error);
  }
}

function asFields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(`${what} is no object`);
  return value as Fields;
}

function integer(fields: Fields, key: string, least: number, most: number): number {
  const value = fields[key];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least || value > most)
    throw wrong(`its ${key} is no whole number from ${least} to ${most}`);
  return value;
}

function list(fields: Fields, key: string, most: number): readonly unknown[] {
  const value = fields[key];
  if (!Array.isArray(value) || value.length > most) throw wrong(`its ${key} are no list of at most ${most}`);
  return value;
}

function sha256Field(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) throw wrong(`its ${key} is no SHA-256`);
  return value;
}

function parseDigest(value: unknown): DigestKind {
  if (value !== "xxh3" && value !== "sha256") throw wrong("its digest is none that is known");
  return value;
}

/** A name or an address, as it may stand in a message or in a directory's name. */
const HOST = /^[\p{L}\p{M}\p{N}._:%-]{1,253}$/u;

function parseServer(value: unknown): ManifestServer {
  const [, bracketed, plain, digits] =
    (typeof value === "string" && /^(?:\[([^\]]*)\]|([^:]*)):([1-9]\d{0,4})$/.exec(value)) || [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !HOST.test(host) || port > 65_535) throw wrong("it names a server that is none");
  return { host, port };
}

function parseParts(
  fields: Fields,
  sizes: { sizeBytes: number; partBytes: number },
  servers: number,
): ManifestPart[] {
  const parts = list(fields, "parts", MANIFEST_LIMITS.parts);
  if (parts.length !== partCount(sizes)) throw wrong("its parts do not make up the file");
  return parts.map((value, index) => {
    const part = asFields(value, `part ${index}`);
    const holders = list(part, "holders", MANIFEST_LIMITS.copies).map((holder) => {
      if (typeof holder === "number" && Number.isInteger(holder) && holder >= 0 && holder < servers)
        return holder;
      throw wrong(`part ${index} is held by a server that it does not name`);
    });
    if (new Set(holders).size !== holders.length) throw wrong(`part ${index} is held twice by one server`);
    const sha256 = sha256Field(part, "sha256");
    return { offset: index * sizes.partBytes, sizeBytes: partSize(sizes, index), sha256, holders };
  });
}

function parsePieces(value: unknown, expectedBytes: number): Uint8Array {
  if (typeof value === "string" && value.length === 4 * Math.ceil(expectedBytes / 3)) {
    const pieces = new Uint8Array(Buffer.from(value, "base64"));
    if (pieces.length === expectedBytes) return pieces;
  }
  throw wrong("its digests are not as many as the file has pieces");
}

function sha256Hex(data: string | Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(data).digest("hex");
}

function wrong(why: string, cause?: unknown): DrayError {
  return new DrayError("integrity", `the manifest cannot be used: ${why}`, { cause });
}
