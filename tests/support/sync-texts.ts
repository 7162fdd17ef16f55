import type { StagedFile, Staging } from "../../src/sync/staging.ts";
import type { Tree } from "../../src/sync/ports.ts";
import { makeDirectories } from "../../src/sync/state-folder.ts";
import type { SimulatedTree } from "./simulated-tree.ts";

/** The content of a file as text; undefined when there is none. @param name its components joined by `/` */
export function textAt(tree: Tree, name: string): string | undefined {
  const path = name.split("/");
  if (tree.stat(path) === undefined) return undefined;
  const file = tree.open(path);
  try {
    const bytes = new Uint8Array(file.stat().sizeBytes);
    return Buffer.from(bytes.subarray(0, file.read(bytes, 0))).toString();
  } finally {
    file.close();
  }
}

/** What a user's program does: truncates the file, or makes it, and writes. */
export function writeText(tree: SimulatedTree, name: string, text: string): void {
  const path = name.split("/");
  makeDirectories(tree, path.slice(0, -1));
  const file = tree.stat(path) === undefined ? tree.create(path) : tree.openToWrite(path);
  file.truncate(0);
  file.write(Buffer.from(text), 0);
  file.close();
}

/** The texts of all files below a folder of the tree, by name; `.dray` is left out at the root. */
export function textsBelow(tree: Tree, folder: readonly string[] = []): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { name } of tree.list(folder)) {
    if (folder.length === 0 && name === ".dray") continue;
    const path = [...folder, name];
    if (tree.stat(path)?.kind === "directory")
      for (const [below, text] of textsBelow(tree, path)) texts.set(below, text);
    else texts.set(path.join("/"), textAt(tree, path.join("/"))!);
  }
  return texts;
}

/** A staged file that holds a text. */
export function stageText(staging: Staging, text: string): StagedFile {
  const staged = staging.create();
  staged.append(Buffer.from(text));
  return staged;
}
