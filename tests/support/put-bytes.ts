import type { Client } from "../../src/transfer/client.ts";
import { MAX_EAGER_BYTES } from "../../src/wire/messages.ts";

/** Puts bytes from memory. @returns how many of them the server had already */
export async function putBytes(
  client: Client,
  path: string,
  bytes: Uint8Array,
  mtimeUs: number,
  sent: (bytes: number) => void = () => {},
): Promise<number> {
  const size = bytes.length;
  const eager = size <= MAX_EAGER_BYTES;
  const source = {
    readFully: (target: Uint8Array, offset: number): void => {
      target.set(bytes.subarray(offset, offset + target.length));
    },
    assertUnchanged: (): void => {},
  };
  return client.put({ path, size, mtimeUs, mode: 0o644, digest: "xxh3", eager }, source, sent);
}
