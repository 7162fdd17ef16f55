/** Longest host name that DNS allows. */
const MAX_HOST_CHARACTERS = 253;

/**
 * Whether a text can name a machine: an IPv4 or IPv6 address (without brackets) or a host name.
 * Letters of any script and `_` are allowed, as local resolvers take them. A host also becomes part
 * of a directory name on a mirror, so nothing passes that could act as a path.
 */
export function isHost(text: string): boolean {
  if (text.length > MAX_HOST_CHARACTERS) return false;
  if (text.includes(":")) return isIpv6(text);
  if (/^[\d.]+$/.test(text)) return isIpv4(text);
  return text
    .split(".")
    .every((label) => /^[\p{L}\p{N}_](?:[\p{L}\p{M}\p{N}_-]*[\p{L}\p{M}\p{N}_])?$/u.test(label));
}

/** `[::1]` as `::1`; anything else as it is. */
export function withoutBrackets(text: string): string {
  return text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
}

function isIpv4(text: string): boolean {
  const numbers = text.split(".");
  return (
    numbers.length === 4 &&
    numbers.every((number) => /^(?:0|[1-9]\d{0,2})$/.test(number) && Number(number) < 256)
  );
}

/** An IPv6 address, also with a zone (`fe80::1%eth0`). Written without node:net, which takes long to load. */
function isIpv6(text: string): boolean {
  return /^[\da-f:.]+(?:%[\w.-]+)?$/i.test(text) && URL.canParse(`http://[${text.replace(/%.*/, "")}]/`);
}
