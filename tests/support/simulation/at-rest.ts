import { DEFAULT_IGNORES } from "../../../src/sync/ignore-rules.ts";
import { twinKey } from "../../../src/sync/names.ts";
import { type Contents, visibleFiles } from "./contents.ts";
import type { SimulatedNode } from "./node.ts";
import { Violation } from "./violation.ts";

/** Of a keep-alive. */
const STATUS_BYTES = 4;
/** Among the names of stories only this one is left out. */
const IGNORED = /~$/;
if (!DEFAULT_IGNORES.includes("*~"))
  throw new Error("backups with a tilde are not left out any more: the stories have to be changed");

/** Why it is not quiet. */
export function unrestOf(nodes: readonly SimulatedNode[], bytesOnTheirWay: number): string | undefined {
  for (const node of nodes) {
    if (!node.isRunning) return `the ${node.name} does not run`;
    const hold = node.agent?.status().hold;
    if (hold !== undefined) return `the ${node.name} holds back ${hold.files} deletes: ${hold.why}`;
    if (node.kind === "client" && !node.isInSync)
      return `the ${node.name} is not in sync (${JSON.stringify(node.agent?.status())})`;
    if (node.kind === "literal" && node.literal?.isAtRest !== true)
      return "the literal client is not at rest";
  }
  // A file that will be refused may be long on its way, and nobody waits for it; a keep-alive always may be.
  return bytesOnTheirWay > STATUS_BYTES ? "something is on its way" : undefined;
}

/** Where a client's files are not the server's. */
export function differenceOf(nodes: readonly SimulatedNode[], contents: Contents): string | undefined {
  const trees = nodes.map((node) => visibleFiles(node.disk));
  const spellings = new Map<string, Set<string>>();
  for (const tree of trees)
    for (const name of tree.keys())
      spellings.set(twinKey(name), (spellings.get(twinKey(name)) ?? new Set()).add(name));
  const isCompared = (name: string): boolean =>
    !IGNORED.test(name) && spellings.get(twinKey(name))!.size === 1;
  const server = trees[0]!;
  for (const [number, tree] of trees.entries()) {
    const { name: machine } = nodes[number]!;
    for (const [name, md5] of tree) {
      if (!isCompared(name) || server.get(name) === md5) continue;
      const there = server.get(name);
      return `the ${machine} has ${JSON.stringify(name)} with ${contents.label(md5)}, the server ${there === undefined ? "has no such file" : `has ${contents.label(there)}`}`;
    }
    for (const [name, md5] of server)
      if (isCompared(name) && !tree.has(name))
        return `the server has ${JSON.stringify(name)} with ${contents.label(md5)}, the ${machine} has no such file`;
  }
  return undefined;
}

/** What nobody needs at rest is let go of. @throws Violation */
export function checkTidy(nodes: readonly SimulatedNode[]): void {
  const hub = nodes[0]?.hub;
  if (hub !== undefined && hub.roster.lockCount > 0)
    throw new Violation("locks end", `at rest ${hub.roster.lockCount} files are locked`);
  if (hub !== undefined && hub.openUploads > 0)
    throw new Violation("uploads end", `at rest ${hub.openUploads} uploads are open`);
  for (const node of nodes) {
    const staging = node.inodeAt([".dray", "staging"]);
    if (staging !== undefined && staging.entries.size > 0 && !node.wasDeniedUnlink)
      throw new Violation(
        "nothing left over",
        `at rest the ${node.name} has ${staging.entries.size} staged files`,
      );
    if (node.kind !== "literal" && (node.ports?.tree.openFiles ?? 0) > 0)
      throw new Violation(
        "nothing left open",
        `at rest the ${node.name} has ${node.ports!.tree.openFiles} open files`,
      );
  }
}

/** Whether two names differ only in what a careless eye does not see. */
export function hasTwins(nodes: readonly SimulatedNode[]): boolean {
  const names = new Set(nodes.flatMap((node) => [...visibleFiles(node.disk).keys()]));
  return new Set([...names].map(twinKey)).size < names.size;
}
