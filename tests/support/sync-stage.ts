import { AGENT_DEFAULTS, type AgentSettings } from "../../src/sync/client/agent-settings.ts";
import type { AgentEvent } from "../../src/sync/client/agent-events.ts";
import { Agent } from "../../src/sync/client/agent.ts";
import type { HubEvent } from "../../src/sync/server/hub-settings.ts";
import { Hub } from "../../src/sync/server/hub.ts";
import { VERSION_DEFAULTS } from "../../src/sync/version-retention.ts";
import { type SimulatedMachine, SimulatedWorld, type WorldSettings } from "./sync-ports.ts";
import type { SimulatedHasher } from "./simulated-hasher.ts";
import type { SimulatedWatcher } from "./simulated-watcher.ts";
import type { SimulatedTree } from "./simulated-tree.ts";

const SERVER_ADDRESS = "10.0.0.100";
/** As the server names them. */
const SEND_PORT = 9201;
const RECEIVE_PORT = 9202;

/** A simulated world with the real hub and real agents in it. */
export class SyncStage {
  readonly world: SimulatedWorld;
  readonly server: SimulatedMachine;
  hub!: Hub;
  readonly hubEvents: HubEvent[] = [];
  readonly warnings: string[] = [];
  readonly clients: StageClient[] = [];

  constructor(seed: number, settings: WorldSettings = {}) {
    this.world = new SimulatedWorld(seed, settings);
    this.server = this.world.machine(SERVER_ADDRESS);
  }

  startHub(): void {
    const ports = this.server.boot();
    this.hub = new Hub(
      ports,
      {
        address: SERVER_ADDRESS,
        sendPort: SEND_PORT,
        receivePort: RECEIVE_PORT,
        maxConnections: 100,
        maxPerAddress: 100,
        maxUploads: 64,
        maxUploadsInAll: 512,
        maxNames: 100_000,
        maxChunkBytes: 2 ** 32 - 1,
        maxFileBytes: 2 ** 40,
        chunkBytes: 65_536,
        leaseMs: 60_000,
        answerTimeoutMs: 30_000,
        keepAliveMs: 30_000,
        workers: 16,
        versions: VERSION_DEFAULTS,
        acceptsMissing: false,
      },
      {
        event: (event) => this.hubEvents.push(event),
        info: () => {},
        warn: (message) => this.warnings.push(message),
      },
    );
    this.world.clock.settled(this.hub.recover());
    this.hub.listen();
  }

  client(more: Partial<AgentSettings> = {}): StageClient {
    const client = new StageClient(this, this.clients.length + 1, more);
    this.clients.push(client);
    return client;
  }

  /** Lets time pass until every client that runs says that it is in sync and nothing more happens. */
  settle(limitMs = 120_000): void {
    const { clock } = this.world;
    const running = this.clients.filter(({ isRunning }) => isRunning);
    const isQuiet = (): boolean => running.every((client) => client.events.at(-1)?.type === "in-sync");
    clock.until(isQuiet, "all clients to be in sync", limitMs);
    for (let quietMs = 0; quietMs < 5_000; quietMs += 500) {
      clock.pass(500);
      if (!isQuiet()) {
        clock.until(isQuiet, "all clients to be in sync again", limitMs);
        quietMs = 0;
      }
    }
  }

  /** The files that the server's folder shows. */
  get serverFiles(): Record<string, string> {
    return filesIn(this.server.user());
  }
}

export class StageClient {
  readonly stage: SyncStage;
  readonly machine: SimulatedMachine;
  readonly events: AgentEvent[] = [];
  readonly settings: AgentSettings;
  agent!: Agent;
  watcher!: SimulatedWatcher;
  hasher!: SimulatedHasher;
  isRunning = false;
  #closeLedger: () => void = () => {};

  constructor(stage: SyncStage, number: number, more: Partial<AgentSettings>) {
    this.stage = stage;
    this.machine = stage.world.machine(`10.0.0.${number}`);
    this.settings = {
      ...AGENT_DEFAULTS,
      host: SERVER_ADDRESS,
      sendPort: RECEIVE_PORT,
      receivePort: SEND_PORT,
      chunkBytes: 1000,
      hostName: `client${number}`,
      platform: { isWindows: false },
      ...more,
    };
  }

  start(): this {
    const ports = this.machine.boot();
    this.#closeLedger = () => ports.ledger.close();
    this.watcher = ports.watcher;
    this.hasher = ports.hasher;
    this.agent = new Agent(ports, this.settings, (event) => this.events.push(event));
    this.isRunning = true;
    this.stage.world.clock.settled(this.agent.start());
    return this;
  }

  stop(): void {
    this.isRunning = false;
    this.stage.world.clock.settled(this.agent.stop());
    this.#closeLedger();
    this.machine.kill();
  }

  kill(): void {
    this.isRunning = false;
    this.machine.kill();
  }

  losePower(): void {
    this.isRunning = false;
    this.machine.losePower();
  }

  /** What the user of this machine sees. */
  get files(): Record<string, string> {
    return filesIn(this.machine.user());
  }

  /** Events of one type. */
  told<T extends AgentEvent["type"]>(type: T): Extract<AgentEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<AgentEvent, { type: T }> => event.type === type);
  }

  write(name: string, text: string): void {
    const tree = this.machine.user();
    const path = name.split("/");
    for (let depth = 1; depth < path.length; depth++) {
      if (tree.stat(path.slice(0, depth)) === undefined) tree.makeDirectory(path.slice(0, depth));
    }
    const file = tree.stat(path) === undefined ? tree.create(path) : tree.openToWrite(path);
    file.truncate(0);
    file.write(Buffer.from(text), 0);
    file.close();
  }

  remove(name: string): void {
    this.machine.user().unlink(name.split("/"));
  }

  rename(from: string, to: string): void {
    this.machine.user().rename(from.split("/"), to.split("/"));
  }
}

/** Every file and what it holds, but for dray's own. */
function filesIn(tree: SimulatedTree, below: string[] = []): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name } of tree.list(below).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (below.length === 0 && name === ".dray") continue;
    const path = [...below, name];
    if (tree.stat(path)?.kind === "directory") Object.assign(found, filesIn(tree, path));
    else found[path.join("/")] = textOf(tree, path);
  }
  return found;
}

function textOf(tree: SimulatedTree, path: string[]): string {
  const file = tree.open(path);
  const bytes = new Uint8Array(file.stat().sizeBytes);
  file.read(bytes, 0);
  file.close();
  return Buffer.from(bytes).toString();
}

/** Every content in a tree's versions. */
export function versionsIn(tree: SimulatedTree): string[] {
  const root = [".dray", "versions"];
  const texts: string[] = [];
  const walk = (path: string[]): void => {
    for (const { name } of tree.list(path)) {
      const inner = [...path, name];
      if (tree.stat(inner)?.kind === "directory") walk(inner);
      else texts.push(textOf(tree, inner));
    }
  };
  if (tree.stat(root) !== undefined) walk(root);
  return texts;
}
