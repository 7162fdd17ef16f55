import { DrayError } from "../errors/dray-error.ts";

/** Longest path in a message, in bytes of UTF-8. */
export const MAX_PATH_BYTES = 4096;
/** Longest single component, in bytes of UTF-8: the limit of every common file system. */
export const MAX_COMPONENT_BYTES = 255;

/**
 * The components of a path from outside: relative, `/`-separated. `.` is the root itself and gives
 * no components; a trailing slash and a leading `./` are allowed, as people type them.
 *
 * This is the lexical half of "no name leaves the root" (DESIGN section 6); the walk through the
 * directories without following links is the other.
 *
 * @throws DrayError "name" for an absolute or empty path, `..`, NUL, or an over-long component.
 */
export function parsePath(path: string): string[] {
  const problem = problemOf(path);
  if (problem !== undefined) throw new DrayError("name", `the path ${quoteName(path)} ${problem}`);
  return path.split("/").filter((component) => component !== "" && component !== ".");
}

/**
 * Like parsePath for a name that a peer's list announces: those come in one canonical spelling, so
 * two different strings can never mean the same file.
 */
export function parseListedName(path: string): string[] {
  if (isPlain(path)) return path.split("/");
  const components = parsePath(path);
  if (components.length === 0 || components.join("/") !== path) {
    throw new DrayError("name", `the listed name ${quoteName(path)} is not in canonical form`);
  }
  return components;
}

/** Without an empty component, `.`, `..` or NUL. */
const CANONICAL = /^(?!\.{1,2}(?:\/|$))[^/\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)*$/;

/** Most names, told at a glance: canonical, and so short that no limit on bytes concerns them. */
function isPlain(path: string): boolean {
  return path.length * 3 <= MAX_COMPONENT_BYTES && CANONICAL.test(path) && path.isWellFormed();
}

function problemOf(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.includes("\0")) return "holds a NUL byte";
  if (path.startsWith("/")) return "is absolute";
  if (!path.isWellFormed()) return "is not valid Unicode";
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (const component of path.split("/")) {
    if (component === "..") return "leads upwards (`..`)";
    if (component.length * 3 > MAX_COMPONENT_BYTES && Buffer.byteLength(component) > MAX_COMPONENT_BYTES) {
      return `has a component longer than ${MAX_COMPONENT_BYTES} bytes`;
    }
  }
  return undefined;
}

/** Why Windows would read a component as something else than a plain name; undefined if it would not. */
export function windowsProblem(component: string): string | undefined {
  if (/[<>:"\\|?*]/.test(component)) return "holds a character that Windows reserves";
  if ([...component].some((character) => character < " ")) return "holds a control character";
  if (component === "") return "is empty";
  if (/[. ]$/.test(component)) return "ends in a dot or a space";
  if (/^(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$) *(\.|$)/i.test(component))
    return "is a device name on Windows";
  return undefined;
}

/** What JSON leaves as it is and a terminal may obey: DEL, C1, line separators, bidirectional controls. */
const STEERING = /[\u007f-\u009f\u2028\u2029\p{Bidi_Control}]/gu;

/** A name for messages: quoted, control characters escaped, cut to a readable length. */
export function quoteName(name: string): string {
  const quoted = JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
  return quoted.replace(
    STEERING,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Whether `path` is `base` or lies below it, by whole components: `docs` holds `docs/a`, never `docs2`. */
export function isWithin(path: readonly string[], base: readonly string[]): boolean {
  return base.length <= path.length && base.every((component, index) => path[index] === component);
}
