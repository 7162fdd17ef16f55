import { systemErrorCode } from "../errors/dray-error.ts";
import type { Clock, Tree, TreePath } from "./ports.ts";

/** What a file system says that has no hard links, no more of them for this file, or none to there. */
const NO_LINKS: readonly (string | undefined)[] = [
  "EPERM",
  "ENOTSUP",
  "EOPNOTSUPP",
  "ENOSYS",
  "EMLINK",
  "EXDEV",
];
const COPY_BYTES = 256 * 1024;

export function isLinkImpossible(error: unknown): boolean {
  return NO_LINKS.includes(systemErrorCode(error));
}

/**
 * Gives a file's content a second name that nothing has yet: a hard link, or a copy where there is no such thing.
 * Neither content nor name is durable then.
 * @returns how it was done; a "copy" may hold a mixture if somebody wrote meanwhile: look again
 * @throws a system error, EEXIST among them
 */
export async function giveSecondName(
  tree: Tree,
  clock: Clock,
  from: TreePath,
  to: TreePath,
): Promise<"link" | "copy"> {
  try {
    tree.link(from, to);
    return "link";
  } catch (error) {
    if (!isLinkImpossible(error)) throw error;
  }
  await copyFile(tree, clock, from, to);
  return "copy";
}

/** @throws a system error, EEXIST among them; what was copied so far is gone then */
async function copyFile(tree: Tree, clock: Clock, from: TreePath, to: TreePath): Promise<void> {
  const source = tree.open(from);
  try {
    const target = tree.create(to);
    try {
      const buffer = new Uint8Array(COPY_BYTES);
      for (let position = 0; ;) {
        const count = source.read(buffer, position);
        if (count === 0) break;
        target.write(buffer.subarray(0, count), position);
        position += count;
        await othersTurn(clock);
      }
      const { mtimeNs, mode } = source.stat();
      target.setMode(mode);
      target.setMtime(mtimeNs);
    } catch (error) {
      tree.unlink(to);
      throw error;
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}

/** Lets everything happen that is due. */
export function othersTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.wake(clock.monotonicMs(), resolve));
}
