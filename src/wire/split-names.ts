import { DrayError } from "../errors/dray-error.ts";
import { MAX_COMPONENT_BYTES, quoteName } from "./names.ts";

/** What the directory of a split file has behind the file's name. */
const SUFFIX = ".dray-parts";
const MANIFEST = "manifest";
/** How much of the root's digest is in the path of a part: enough to keep versions apart. */
const ROOT_CHARACTERS = 16;

/** What fixes which bytes a part of a split file holds. */
export interface Split {
  /** SHA-256 of the whole file in hexadecimal. */
  readonly root: string;
  /** Length of every part but the last. */
  readonly partBytes: number;
}

/** The directory of a split file: `docs/a.iso.dray-parts`. */
export function splitDirectory(name: string): string {
  return `${name}${SUFFIX}`;
}

/** Where the manifest of a split file is: `docs/a.iso.dray-parts/manifest`. */
export function manifestPath(name: string): string {
  return `${splitDirectory(name)}/${MANIFEST}`;
}

/** The directory of one version's parts: its contents and how they are cut, so that both may change. */
function versionDirectory(name: string, { root, partBytes }: Split): string {
  return `${splitDirectory(name)}/${root.slice(0, ROOT_CHARACTERS)}-${partBytes}`;
}

/** Where a part is: `docs/a.iso.dray-parts/0123456789abcdef-67108864/12`. */
export function partPath(name: string, split: Split, index: number): string {
  return `${versionDirectory(name, split)}/${index}`;
}

/** The name of the split file whose directory a path is; undefined if it is none. */
export function splitNameOf(directory: string): string | undefined {
  const base = directory.slice(directory.lastIndexOf("/") + 1);
  return base.length > SUFFIX.length && base.endsWith(SUFFIX)
    ? directory.slice(0, -SUFFIX.length)
    : undefined;
}

/** @throws DrayError "name" for a name that a split file cannot have */
export function assertSplittable(name: string): void {
  const components = name.split("/");
  if (components.some((component) => component.endsWith(SUFFIX)))
    throw new DrayError("name", `the name ${quoteName(name)} ends like the directory of a split file`);
  const longest = MAX_COMPONENT_BYTES - SUFFIX.length;
  if (Buffer.byteLength(components.at(-1)!) > longest)
    throw new DrayError(
      "name",
      `the name ${quoteName(name)} is too long for a split file (${longest} bytes)`,
    );
}
