/**
 * What a stream begins with when its peer speaks TLS and we do not: `hello` is a client's first record,
 * `alert` a server's answer to something that is no TLS (RFC 8446, sections 5.1 and 6). No frame
 * of the dray protocol that may come first looks like either.
 */
export function tlsRecordAt(bytes: Uint8Array): "hello" | "alert" | undefined {
  const [type, major, minor, , lengthLow, first] = bytes;
  if (major !== 3 || minor === undefined || minor > 4) return undefined;
  if (type === 22 && bytes.length >= 6 && first === 1) return "hello";
  const isAlert = type === 21 && bytes.length === 7 && lengthLow === 2 && (first === 1 || first === 2);
  return isAlert ? "alert" : undefined;
}
