import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { DrayError } from "../errors/dray-error.ts";

export const MAX_TOKEN_BYTES = 256;
/** Shorter ones can be guessed. */
const GOOD_SECRET_BYTES = 16;
const MAX_TOKENS = 1_000;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

interface Token {
  /** Undefined for a secret without a name. */
  name: string | undefined;
  /** The whole line: what crosses the wire. */
  line: string;
}

/**
 * The tokens that a server lets in. A token is one line of text, `secret` or `name:secret`, and a
 * client gives the whole line.
 */
export class TokenList {
  /** Tokens are compared by digests under a key that nobody knows, so that time tells nothing of them. */
  readonly #key = randomBytes(32);
  readonly #known: { name: string | undefined; digest: Buffer }[];
  /** What somebody should hear about the secrets, without them. */
  readonly warnings: string[];

  /**
   * @param text one token a line; blank lines and lines that begin with # are passed over
   * @throws DrayError "usage", which never shows a secret
   */
  constructor(text: string) {
    const tokens = parseTokens(text);
    this.#known = tokens.map(({ name, line }) => ({ name, digest: this.#digest(Buffer.from(line)) }));
    const short = tokens.filter(({ name, line }) => secretBytes(name, line) < GOOD_SECRET_BYTES).length;
    this.warnings =
      short === 0 ? [] : [`${short} of ${tokens.length} secrets have less than ${GOOD_SECRET_BYTES} bytes`];
  }

  /** @returns whose token it is, or undefined if it is none of these. Looks at all of them in any case. */
  find(token: Uint8Array): { name: string | undefined } | undefined {
    const digest = this.#digest(token);
    let found: { name: string | undefined } | undefined;
    for (const known of this.#known) {
      if (timingSafeEqual(known.digest, digest)) found = known;
    }
    return found === undefined ? undefined : { name: found.name };
  }

  #digest(token: Uint8Array): Buffer {
    return createHmac("sha256", this.#key).update(token).digest();
  }
}

/**
 * The one token of a client's file.
 * @returns the bytes that HELLO carries, and what somebody should hear about them
 * @throws DrayError "usage", which never shows the secret
 */
export function parseClientToken(text: string): { token: Uint8Array; warnings: string[] } {
  const [token, ...others] = parseTokens(text);
  if (token === undefined || others.length > 0) {
    throw new DrayError("usage", `it holds ${others.length + 1} tokens, and a client gives one`);
  }
  const isShort = secretBytes(token.name, token.line) < GOOD_SECRET_BYTES;
  const warnings = isShort ? [`the secret has less than ${GOOD_SECRET_BYTES} bytes`] : [];
  return { token: Buffer.from(token.line), warnings };
}

function parseTokens(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [index, written] of text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    const line = written.trim();
    if (line === "" || line.startsWith("#")) continue;
    const problem = problemOf(line);
    if (problem !== undefined) throw new DrayError("usage", `line ${index + 1}: ${problem}`);
    if (tokens.length === MAX_TOKENS) throw new DrayError("usage", `it holds more than ${MAX_TOKENS} tokens`);
    tokens.push({ name: nameOf(line), line });
  }
  if (tokens.length === 0) throw new DrayError("usage", "it holds no token");
  return tokens;
}

function problemOf(line: string): string | undefined {
  if (Buffer.byteLength(line) > MAX_TOKEN_BYTES) return `a token has at most ${MAX_TOKEN_BYTES} bytes`;
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\ufffd]/.test(line)) return "a token is one line of text, in UTF-8";
  const name = nameOf(line);
  if (name === undefined) return undefined;
  if (!NAME.test(name)) return "the name before the colon is 1 to 64 letters, digits and . _ @ -";
  return line.length === name.length + 1 ? "there is no secret behind the name" : undefined;
}

function nameOf(line: string): string | undefined {
  const colon = line.indexOf(":");
  return colon < 0 ? undefined : line.slice(0, colon);
}

function secretBytes(name: string | undefined, line: string): number {
  return Buffer.byteLength(line) - (name === undefined ? 0 : name.length + 1);
}
