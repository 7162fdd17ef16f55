import type { Random, Tree } from "./ports.ts";
import { replaceFile } from "./replace-file.ts";
import { ROOT_ID_PATH, STATE_FOLDER, makeDirectories } from "./state-folder.ts";

const ID_BYTES = 16;
const ID = /^([0-9a-f]{32})\n?$/;

/** What the marker `.dray/root-id` holds; undefined when there is none that can be read as one. @throws a system error */
export function readRootId(tree: Tree): string | undefined {
  if (tree.stat(ROOT_ID_PATH)?.kind !== "file") return undefined;
  const file = tree.open(ROOT_ID_PATH);
  try {
    const bytes = new Uint8Array(64);
    return ID.exec(Buffer.from(bytes.subarray(0, file.read(bytes, 0))).toString("latin1"))?.[1];
  } finally {
    file.close();
  }
}

/**
 * Writes the marker; it is durable when the promise is kept.
 * @param id undefined: a new one
 * @returns the id, 32 hexadecimal digits
 * @throws a system error
 */
export async function writeRootId(tree: Tree, random: Random, id?: string): Promise<string> {
  const written = id ?? Buffer.from(random.bytes(ID_BYTES)).toString("hex");
  makeDirectories(tree, [STATE_FOLDER]);
  await replaceFile(tree, ROOT_ID_PATH, [Buffer.from(`${written}\n`)]);
  await tree.syncDirectory([]);
  return written;
}
