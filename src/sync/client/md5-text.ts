import { MD5_BYTES } from "../../wire/sync-messages.ts";

/** Of no bytes at all. */
export const EMPTY_MD5 = "d41d8cd98f00b204e9800998ecf8427e";

export function md5Text(md5: Uint8Array): string {
  return md5.toHex();
}

/** A digest that a message carries; undefined for zeros, which stand for none. */
export function knownMd5Text(md5: Uint8Array): string | undefined {
  return md5.every((byte) => byte === 0) ? undefined : md5Text(md5);
}

/** The digest as bytes, zeros where none is known. */
export function md5Bytes(text: string | undefined): Uint8Array {
  return text === undefined ? new Uint8Array(MD5_BYTES) : Uint8Array.fromHex(text);
}
