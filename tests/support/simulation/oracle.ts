import type { HubEvent } from "../../../src/sync/server/hub-settings.ts";
import type { TreePath } from "../../../src/sync/ports.ts";
import { isReserved } from "../../../src/sync/names.ts";
import type { Inode } from "../simulated-inode.ts";
import { Contents, md5Of, versionContents, visibleFiles } from "./contents.ts";
import type { SimulatedNode } from "./node.ts";
import { Violation } from "./violation.ts";

/** Nobody can tell one empty file from another. */
const EMPTY = md5Of(new Uint8Array(0));

/** A content that a user of ours wrote, and has not given up. */
interface Claim {
  readonly md5: string;
  readonly node: SimulatedNode;
  isDurable: boolean;
}

interface UserDelete {
  readonly node: SimulatedNode;
  readonly name: string;
  readonly md5: string;
}

/** Watches a world from outside, knows what every user has done, and says when a promise is broken. */
export class Oracle {
  readonly contents = new Contents();
  readonly #nodes: readonly SimulatedNode[];
  /** By digest: what users of ours wrote and have not overwritten or deleted themselves. */
  readonly #claims = new Map<string, Claim>();
  /** What the server has confirmed, for ever. */
  readonly #committed = new Map<string, string>();
  /** The current content of each name on the server, as it told. */
  readonly #current = new Map<string, string>();
  /** By machine and name: contents that were there for its user to see. */
  readonly #seen = new Map<string, Set<string>>();
  /** By machine and name: the last of those. */
  readonly #latest = new Map<string, string>();
  /** By machine and name: whether its user has removed what was there, and which contents were. */
  readonly #removed = new Map<string, Set<string>>();
  /** Deletes of what the server had, since the last time that all were in sync. */
  #deletes: UserDelete[] = [];
  /** Whose step this is: the user's of a machine. */
  acting: SimulatedNode | undefined;

  constructor(nodes: readonly SimulatedNode[]) {
    this.#nodes = nodes;
    this.contents.learn(new Uint8Array(0), "an empty file", true);
  }

  get server(): SimulatedNode {
    return this.#nodes[0]!;
  }

  // What users do.

  /** A user has written a whole content. @returns its claim's end: to be called once it is durable */
  wrote(node: SimulatedNode, bytes: Uint8Array, label: string): () => void {
    const { md5 } = this.contents.learn(bytes, label, true);
    if (node.kind === "literal" || bytes.length === 0) return () => {};
    const claim: Claim = { md5, node, isDurable: false };
    this.#claims.set(md5, claim);
    return () => (claim.isDurable = true);
  }

  /** A user is about to take what is at a path away from there: it is meant so. */
  removes(node: SimulatedNode, name: string, how: "overwrites" | "deletes" | "renames"): void {
    const md5 = node.contentAt(name);
    if (md5 === undefined) return;
    if (how !== "renames") this.#claims.delete(md5);
    const key = `${node.number}:${name}`;
    // What nobody else can take away any more.
    if (how !== "overwrites") this.#latest.delete(key);
    const removed = this.#removed.get(key) ?? new Set();
    this.#removed.set(key, removed);
    for (const seen of this.#seen.get(key) ?? []) removed.add(seen);
    removed.add(md5);
    // What a literal client is receiving while its user deletes it comes back: its text knows no better.
    if (how === "overwrites" || node.kind === "literal") return;
    if (this.#current.get(name) === md5 && md5 !== EMPTY) this.#deletes.push({ node, name, md5 });
  }

  /** A user goes on writing through a file that was opened earlier, over whatever it holds now. */
  overwrites(inode: Inode): void {
    this.#claims.delete(md5Of(inode.content().bytes));
  }

  /** Somebody gives a name to a content that may have been deleted under it. */
  revives(name: string, md5: string | undefined): void {
    this.#deletes = this.#deletes.filter((gone) => gone.name !== name || gone.md5 !== md5);
  }

  // What happens on disks.

  /** Something changed at a path of a machine. */
  changed(node: SimulatedNode, path: TreePath | undefined): void {
    if (path === undefined || isReserved(path[0] ?? "") || path[0] === "META-DATA") return;
    // A process that runs keeps the folder that it began with, also while that is not mounted.
    for (const root of [node.unmounted, node.disk.root]) {
      const inode = node.inodeAt(path, root);
      if (inode?.kind === "file") this.#look(node, path.join("/"), inode);
    }
  }

  #look(node: SimulatedNode, name: string, inode: Inode): void {
    const { bytes } = inode.content();
    const md5 = md5Of(bytes);
    const isUsers = this.acting === node || node.kind === "literal";
    if (isUsers) this.contents.learn(bytes, `a state of ${JSON.stringify(name)} on the ${node.name}`, false);
    const key = `${node.number}:${name}`;
    const seen = this.#seen.get(key) ?? new Set();
    this.#seen.set(key, seen.add(md5));
    this.#latest.set(key, md5);
    if (!isUsers && this.contents.get(md5) === undefined)
      throw new Violation(
        "whole files",
        `the ${node.name} shows ${JSON.stringify(name)} with ${bytes.length} bytes that nobody wrote`,
      );
  }

  /** What the power failure may take: what nobody had synced. To be called around it. */
  powerFails(node: SimulatedNode, fail: () => void): void {
    const before = new Map<Inode, boolean>();
    const root = node.disk.root ?? node.unmounted;
    const names = new Map<string, string>();
    for (const [name, md5] of visibleFiles(node.disk, root)) names.set(name, md5);
    for (const inode of node.userDirty) before.set(inode, true);
    fail();
    const there = this.#everything();
    for (const [md5, claim] of this.#claims)
      if (claim.node === node && !claim.isDurable && !there.has(md5)) this.#claims.delete(md5);
    // What a user had not synced may be torn, and nobody can tell that from an edit.
    const check = (directory: Inode | undefined, below: string): void => {
      for (const [name, inode] of directory?.entries ?? []) {
        if (below === "" && (name === ".dray" || name === "META-DATA")) continue;
        if (inode.kind === "directory") check(inode, `${below}${name}/`);
        else if (inode.kind === "file") {
          if (before.has(inode) || node.kind === "literal")
            this.contents.learn(
              inode.content().bytes,
              `what the power failure left of ${below}${name} on the ${node.name}`,
              false,
            );
          this.#look(node, below + name, inode);
        }
      }
    };
    check(node.disk.root ?? node.unmounted, "");
    this.#deletes = this.#deletes.filter((gone) => gone.node !== node);
  }

  /** A client has taken a file away, because the server has. */
  deletedHere(node: SimulatedNode, name: string): void {
    const md5 = this.#latest.get(`${node.number}:${name}`);
    // A newer one that stands there by now was not meant.
    if (node.contentAt(name) === md5) return;
    if (md5 === undefined || this.#committed.has(md5) || this.#claims.get(md5)?.node !== node) return;
    throw new Violation(
      "no delete beats an unseen edit",
      `the ${node.name} took away ${JSON.stringify(name)} with ${this.contents.label(md5)}, which the server has never seen`,
    );
  }

  // What the server tells.

  hubTold(event: HubEvent): void {
    if (event.type === "changed") {
      const { name, md5, by } = event;
      if (this.contents.get(md5) === undefined)
        throw new Violation(
          "whole files",
          `the server took ${JSON.stringify(name)} from ${by} with a content that nobody wrote`,
        );
      if (event.bytes > 0) this.#committed.set(md5, name);
      this.#current.set(name, md5);
      const node = this.#nodeOf(by);
      if (node?.kind !== "client") return this.revives(name, md5);
      // It stood there, though what is written through an open file shows under the name with which it was opened.
      const key = `${node.number}:${name}`;
      this.#seen.set(key, (this.#seen.get(key) ?? new Set()).add(md5));
    } else if (event.type === "deleted") {
      const { name, by } = event;
      // What stood there: a server that is killed may have committed more than it told.
      const md5 = this.#latest.get(`${this.server.number}:${name}`) ?? this.#current.get(name);
      this.#current.delete(name);
      const node = this.#nodeOf(by);
      if (md5 === undefined || md5 === EMPTY || node?.kind !== "client") return;
      if (this.#removed.get(`${node.number}:${name}`)?.has(md5) === true) return;
      throw new Violation(
        "no delete beats an unseen edit",
        `the ${node.name} had the server delete ${JSON.stringify(name)} with ${this.contents.label(md5)}, which its user has not deleted`,
      );
    }
  }

  #nodeOf(peer: string): SimulatedNode | undefined {
    const address = peer.slice(0, peer.lastIndexOf(":"));
    return this.#nodes.find((node) => node.machine.address === address);
  }

  // At rest.

  /** Nothing that somebody relied on may be gone. */
  checkNothingLost(): void {
    const there = this.#everything();
    for (const [md5, name] of this.#committed)
      if (!there.has(md5))
        throw new Violation(
          "nothing lost",
          `${this.contents.label(md5)}, which the server had confirmed as ${JSON.stringify(name)}, is nowhere`,
        );
    for (const { md5, node } of this.#claims.values())
      if (!there.has(md5))
        throw new Violation(
          "nothing lost",
          `${this.contents.label(md5)}, written on the ${node.name}, is nowhere`,
        );
  }

  /** To be called when all have converged. */
  checkNothingResurrected(): void {
    const files = visibleFiles(this.server.disk);
    for (const { node, name, md5 } of this.#deletes)
      if (files.get(name) === md5)
        throw new Violation(
          "none resurrected",
          `${this.contents.label(md5)} is back as ${JSON.stringify(name)}, though the user of the ${node.name} deleted it`,
        );
    this.#deletes = [];
  }

  /** Every content on the disks of the server and of our clients. */
  #everything(): Set<string> {
    const there = new Set<string>();
    for (const node of this.#nodes) {
      if (node.kind === "literal") continue;
      for (const root of [node.disk.root, node.unmounted]) {
        for (const md5 of visibleFiles(node.disk, root).values()) there.add(md5);
        for (const md5 of versionContents(root)) there.add(md5);
      }
    }
    return there;
  }
}
