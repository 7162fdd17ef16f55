import { readdirSync } from "node:fs";

/**
 * Everything below a directory, sorted: `name` for files, `name/` for directories. Bytes that are not
 * UTF-8 are shown as replacement characters.
 */
export function namesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const path = `${entry.parentPath}/${entry.name}`.slice(root.length + 1);
      return entry.isDirectory() ? `${path}/` : path;
    })
    .sort();
}
