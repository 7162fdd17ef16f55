import type { Agent } from "../../../src/sync/client/agent.ts";
import type { Clock, TreePath } from "../../../src/sync/ports.ts";
import type { SimulatedDisk } from "../simulated-disk.ts";
import type { Inode } from "../simulated-inode.ts";
import { type SimulatedMachine, type SimulatedPorts } from "../sync-ports.ts";
import type { WatcherSettings } from "../simulated-watcher.ts";
import { WATCHER_DEFAULTS } from "../simulated-watcher.ts";
import { md5Of } from "./contents.ts";
import type { LiteralProcess } from "./literal-process.ts";
import type { Hub } from "../../../src/sync/server/hub.ts";

/** A machine of a world with what runs on it. */
export class SimulatedNode {
  readonly number: number;
  readonly kind: "server" | "client" | "literal";
  readonly name: string;
  readonly machine: SimulatedMachine;
  readonly clock: SkewedClock;
  ports: SimulatedPorts | undefined;
  hub: Hub | undefined;
  agent: Agent | undefined;
  literal: LiteralProcess | undefined;
  /** The last thing that its agent told is that all is done. */
  isInSync = false;
  /** The folder's file system while it is not mounted. */
  unmounted: Inode | undefined;
  watcher: WatcherSettings = WATCHER_DEFAULTS;
  /** A staged file could not be removed: the next start does it. */
  wasDeniedUnlink = false;
  /** Files that the user wrote and did not sync. */
  readonly userDirty = new Set<Inode>();

  constructor(
    number: number,
    kind: SimulatedNode["kind"],
    name: string,
    machine: SimulatedMachine,
    clock: SkewedClock,
  ) {
    this.number = number;
    this.kind = kind;
    this.name = name;
    this.machine = machine;
    this.clock = clock;
  }

  get disk(): SimulatedDisk {
    return this.machine.disk;
  }

  get isRunning(): boolean {
    return this.ports !== undefined;
  }

  inodeAt(path: TreePath, root = this.disk.root): Inode | undefined {
    let inode = root;
    for (const name of path) inode = inode?.entries.get(name);
    return inode;
  }

  /** The digest of a visible file; undefined when there is none. */
  contentAt(name: string): string | undefined {
    const inode = this.inodeAt(name.split("/"));
    return inode?.kind === "file" ? md5Of(inode.content().bytes) : undefined;
  }

  /** The process is gone. */
  dead(): void {
    this.ports = this.hub = this.agent = this.literal = undefined;
    this.isInSync = false;
  }
}

/** The world's clock with a date of its own. */
export class SkewedClock implements Clock {
  readonly #world: Clock;
  skewMs = 0;

  constructor(world: Clock) {
    this.#world = world;
  }

  monotonicMs(): number {
    return this.#world.monotonicMs();
  }

  wallMs(): number {
    return this.#world.wallMs() + this.skewMs;
  }

  wake(atMs: number, callback: () => void): () => void {
    return this.#world.wake(atMs, callback);
  }
}
