/** Names that the sync protocol, or dray, keeps for itself: never a user's file. */

/** Under this name a server sends what it has (docs/SYNC-PROTOCOL.md, "META-DATA"). */
export const METADATA_NAME = "META-DATA";
/** Where both of our sides keep what is theirs. */
export const PRIVATE_FOLDER = ".dray";

const PAIR_PREFIX = `${PRIVATE_FOLDER}/pair/`;

/**
 * Whether no user's file may have this name: META-DATA, and all in `.dray`, in any case of letters, because on some
 * file systems `.DRAY` is the same folder.
 */
export function isReservedName(name: string): boolean {
  const first = name.slice(0, name.indexOf("/") < 0 ? undefined : name.indexOf("/")).toLowerCase();
  return first === PRIVATE_FOLDER || name === METADATA_NAME;
}

/**
 * The name that our client puts into a Request on both of its channels, so that our server knows
 * them for one client's.
 * @param token 32 lower-case hexadecimal digits, random
 */
export function pairingName(token: string): string {
  return PAIR_PREFIX + token;
}

/** The token in a pairing name; undefined for any other name. */
export function pairingToken(name: string): string | undefined {
  if (!name.startsWith(PAIR_PREFIX)) return undefined;
  const token = name.slice(PAIR_PREFIX.length);
  return /^[0-9a-f]{32}$/.test(token) ? token : undefined;
}
