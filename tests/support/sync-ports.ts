import type { Network, Ports } from "../../src/sync/ports.ts";
import { type Random, seededRandom } from "./random.ts";
import { SimulatedClock } from "./simulated-clock.ts";
import { type DiskSettings, SimulatedDisk } from "./simulated-disk.ts";
import { SimulatedHasher } from "./simulated-hasher.ts";
import { SimulatedLedgerStore } from "./simulated-ledger.ts";
import { type NetworkSettings, SimulatedNetwork } from "./simulated-network.ts";
import { SimulatedTree } from "./simulated-tree.ts";
import { SimulatedWatcher } from "./simulated-watcher.ts";

export interface SimulatedPorts extends Ports {
  readonly tree: SimulatedTree;
  readonly hasher: SimulatedHasher;
  readonly watcher: SimulatedWatcher;
}

export interface WorldSettings {
  readonly network?: Partial<NetworkSettings>;
  readonly wallMs?: number;
}

/** Machines, a network between them, and time: all in one thread, and the same for the same seed. */
export class SimulatedWorld {
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly network: SimulatedNetwork;

  constructor(seed: number, settings: WorldSettings = {}) {
    this.random = seededRandom(seed);
    this.clock = new SimulatedClock(settings.wallMs);
    this.network = new SimulatedNetwork(this.clock, this.random, settings.network);
  }

  /** @param address of its own: "10.0.0.1" */
  machine(address: string, disk: Partial<DiskSettings> = {}): SimulatedMachine {
    return new SimulatedMachine(this, address, disk);
  }
}

/** A machine with a disk and a ledger, on which one process after the other runs. */
export class SimulatedMachine {
  readonly world: SimulatedWorld;
  readonly address: string;
  readonly disk: SimulatedDisk;
  readonly ledgerStore: SimulatedLedgerStore;
  #killProcess: (() => void) | undefined;

  constructor(world: SimulatedWorld, address: string, disk: Partial<DiskSettings>) {
    this.world = world;
    this.address = address;
    this.disk = new SimulatedDisk(world.clock, world.random, disk);
    this.ledgerStore = new SimulatedLedgerStore(world.clock, world.random);
  }

  /** The ports for a new process; the one before has to be dead, or ended in an orderly way. */
  boot(): SimulatedPorts {
    this.kill();
    const { clock, random, network } = this.world;
    const tree = new SimulatedTree(this.disk);
    let isKilled = false;
    const isDead = (): boolean => isKilled || tree.isDead;
    this.#killProcess = () => {
      isKilled = true;
      tree.revoke();
    };
    const ports: SimulatedPorts = {
      tree,
      network: guardedNetwork(network.at(this.address), isDead),
      clock: {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs(),
        wake: (atMs, callback) => clock.wake(atMs, () => isDead() || callback()),
      },
      ledger: this.ledgerStore.open(isDead),
      hasher: new SimulatedHasher(clock, random, isDead),
      watcher: new SimulatedWatcher(this.disk, clock, random, isDead),
      random: {
        bytes(count) {
          const bytes = new Uint8Array(count);
          random.fill(bytes);
          return bytes;
        },
      },
    };
    return ports;
  }

  /** SIGKILL: what was written stays, synced or not; of the ledger, what the process had handed over. */
  kill(): void {
    if (this.#killProcess === undefined) return;
    this.#killProcess();
    this.#killProcess = undefined;
    this.ledgerStore.loseProcess();
    this.world.network.vanish(this.address);
  }

  /** The power fails: what was not synced may be lost. */
  losePower(): void {
    this.kill();
    this.disk.losePower();
    this.ledgerStore.losePower();
  }

  /** The disk as the user of this machine sees and changes it. */
  user(): SimulatedTree {
    return new SimulatedTree(this.disk);
  }
}

/** What a dead process dials or listens for does not happen. */
function guardedNetwork(network: Network, isDead: () => boolean): Network {
  return {
    async dial(target, timeoutMs, ready) {
      return await network.dial(target, timeoutMs, (link) => {
        if (!isDead()) return ready(link);
        link.terminate();
        throw new Error("the process that dialled is dead");
      });
    },
    listen: (address, port, accept) => network.listen(address, port, accept),
  };
}
