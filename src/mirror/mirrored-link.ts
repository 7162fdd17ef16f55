import * as fs from "node:fs";
import type { ContainedRoot } from "../disk/contained-root.ts";
import { linkTempName } from "../disk/publication.ts";
import type { FetchReason } from "./job.ts";
import { factsHere, inTheWay } from "./local-copy.ts";

/**
 * Whether a link may be made: its target leads to something inside of what the source exports. Up is
 * allowed only at the beginning: the directories on that way are real ones, so that it ends where it
 * seems to, whatever other links are there.
 * @param path of the link, from the source's root
 */
export function staysInside(path: string, target: string): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0")) return false;
  if (process.platform === "win32" && /[\\:]/.test(target)) return false;
  const depth = path.split("/").length - 1;
  const components = target.split("/");
  const firstDown = components.findIndex((component) => component !== "..");
  const up = firstDown < 0 ? components.length : firstDown;
  return up <= depth && !components.slice(up).includes("..");
}

/** What is there in a link's place: why the link is to be made; undefined if it is there. @throws Obstacle, or a system error */
export function reasonToLink(
  root: ContainedRoot,
  components: readonly string[],
  target: string,
): FetchReason | undefined {
  const facts = factsHere(root, components);
  if (facts === undefined) return "new";
  if (facts.kind === "directory") throw inTheWay(components);
  if (facts.kind !== "symlink") return "changed";
  using directory = root.hold(components.slice(0, -1));
  return fs.readlinkSync(directory.entry(components.at(-1)!)) === target ? undefined : "changed";
}

/** Makes a link, replacing another one or a file. @throws a system error */
export function publishLink(root: ContainedRoot, components: readonly string[], target: string): void {
  using directory = root.hold(components.slice(0, -1), true);
  const temp = directory.entry(linkTempName());
  fs.symlinkSync(target, temp);
  try {
    fs.renameSync(temp, directory.entry(components.at(-1)!));
  } catch (error) {
    fs.unlinkSync(temp);
    throw error;
  }
}
