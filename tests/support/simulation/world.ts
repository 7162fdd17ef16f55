import { AGENT_DEFAULTS, type AgentSettings } from "../../../src/sync/client/agent-settings.ts";
import { Agent } from "../../../src/sync/client/agent.ts";
import type { HubEvent, HubSettings } from "../../../src/sync/server/hub-settings.ts";
import { Hub } from "../../../src/sync/server/hub.ts";
import type { LinkPair } from "../simulated-network.ts";
import { ProcessDied, systemError } from "../simulated-tree.ts";
import { SimulatedMachine, SimulatedWorld } from "../sync-ports.ts";
import { WATCHER_DEFAULTS } from "../simulated-watcher.ts";
import { checkTidy, differenceOf, hasTwins, unrestOf } from "./at-rest.ts";
import { LiteralProcess } from "./literal-process.ts";
import { SimulatedNode, SkewedClock } from "./node.ts";
import { Oracle } from "./oracle.ts";
import type { Plant } from "./plants.ts";
import { type Step, type Story, describeStep, nameOf } from "./story.ts";
import { User } from "./user.ts";
import { Violation } from "./violation.ts";
import { WireTap } from "./wire-tap.ts";

const SERVER = "10.0.0.100";
/** As the server names them. */
const SEND_PORT = 9201;
const RECEIVE_PORT = 9202;
const VERSIONS = { maxAgeMs: 1e15, maxCount: 1e6, maxBytes: 2 ** 50 };
const RESCAN_MS = 30_000;
/** Within this everything has to be the same everywhere when all faults are over. */
const HEAL_LIMIT_MS = 1_800_000;
const QUIET_MS = 3_000;
const SILENCE_MS = 90_000;
const LITERAL_PATIENCE_MS = 120_000;
const STOP_GRACE_MS = 15_000;
/** With slow syncs a commit takes this long at most. */
const COMMIT_MS = 40_000;
/** What may wait on a connection whose other side takes nothing. */
const MAX_PENDING_BYTES = 64 * 1024;

/** A server, clients of ours, perhaps a literal one, and everything between them, living through a story. */
export class World {
  readonly story: Story;
  readonly log: string[] = [];
  readonly world: SimulatedWorld;
  readonly nodes: SimulatedNode[] = [];
  readonly oracle: Oracle;
  readonly #users: User[];
  readonly #taps = new Map<LinkPair, [WireTap, WireTap]>();
  readonly #cuts = new Map<string, number>();
  readonly #flips = new Map<string, number>();
  readonly #away = new Set<string>();
  readonly #denials = new Map<SimulatedNode, { kind: string; code: string; left: number }[]>();
  readonly #plant: Plant;
  readonly #isTraced: boolean;
  /** Locks whose connection is gone, and since when. */
  readonly #orphans = new Map<string, number>();
  #violation: Error | undefined;

  constructor(story: Story, plant: Plant = {}, isTraced = false) {
    this.story = story;
    this.#plant = plant;
    this.#isTraced = isTraced;
    const { latencyMs, portionBytes: maxPortionBytes, windowBytes } = story.around;
    this.world = new SimulatedWorld(story.seed, { network: { latencyMs, maxPortionBytes, windowBytes } });
    const count = 1 + story.clients + (story.hasLiteral ? 1 : 0);
    for (let number = 0; number < count; number++) this.#addNode(number);
    this.oracle = new Oracle(this.nodes);
    this.#users = this.nodes.map((node) => new User(node, this.oracle));
    this.world.network.tamper = (bytes, from, pair) => this.#sent(bytes, from, pair);
    this.world.network.isReachable = (from, to) => !this.#away.has(from) && !this.#away.has(to);
    for (const node of this.nodes) {
      node.disk.watchers.add((path) => this.#guarded(() => this.oracle.changed(node, path)));
      node.disk.before = ({ kind }) => this.#before(node, kind);
    }
  }

  /** @throws Violation; other errors when something fell over */
  run(): void {
    for (const node of this.nodes) this.#start(node);
    for (const step of this.story.steps) this.#step(step);
    if (this.story.steps.at(-1)?.do !== "quiesce") this.#step({ after: 0, on: 0, do: "quiesce" });
  }

  #addNode(number: number): void {
    const { tickMs, syncMs, withoutLinks } = this.story.around;
    const kind = number === 0 ? "server" : number <= this.story.clients ? "client" : "literal";
    const clock = new SkewedClock(this.world.clock);
    // The machine takes its date from its own clock, and all else from the world.
    const own = Object.create(this.world, { clock: { value: clock } }) as SimulatedWorld;
    const machine = new SimulatedMachine(own, number === 0 ? SERVER : `10.0.0.${number}`, {
      tickMs: kind === "literal" ? 1 : tickMs,
      syncMs,
      hasHardLinks: !withoutLinks.includes(number),
    });
    machine.ledgerStore.syncMs = syncMs;
    this.nodes.push(new SimulatedNode(number, kind, nameOf(this.story, number), machine, clock));
  }

  // Steps.

  #step(step: Step): void {
    this.#pass(step.after);
    this.log.push(
      `${(this.world.clock.monotonicMs() / 1000).toFixed(3)} s  ${describeStep(this.story, step)}`,
    );
    const node = this.nodes[step.on];
    if (node === undefined) return;
    this.#do(node, step);
    this.#check();
  }

  #do(node: SimulatedNode, step: Step): void {
    const { clock } = this.world;
    const { address } = node.machine;
    switch (step.do) {
      case "kill":
        if (node.isRunning) this.#guarded(() => node.machine.kill());
        return node.dead();
      case "power":
        // The text promises nothing for that, and a torn list of a literal client means nothing.
        if (node.kind === "literal") node.machine.kill();
        else this.oracle.powerFails(node, () => node.machine.losePower());
        node.userDirty.clear();
        return node.dead();
      case "stop":
        return this.#stop(node);
      case "start":
        return this.#start(node);
      case "cut":
        return void this.#cuts.set(address, step.bytes);
      case "flip":
        return void this.#flips.set(address, step.count);
      case "stall": {
        const pairs = [...this.world.network.pairs].filter((pair) =>
          pair.sides.some(({ ownAddress }) => ownAddress === address),
        );
        for (const pair of pairs) pair.stall();
        clock.wake(clock.monotonicMs() + step.ms, () => pairs.forEach((pair) => pair.unstall()));
        return;
      }
      case "away":
        this.#away.add(address);
        this.world.network.cut((pair) => pair.sides.some(({ ownAddress }) => ownAddress === address));
        return void clock.wake(clock.monotonicMs() + step.ms, () => this.#away.delete(address));
      case "half-close":
        return node.literal?.halfClose(step.channel);
      case "watcher":
        node.watcher = { ...WATCHER_DEFAULTS, ...step };
        if (node.ports !== undefined) node.ports.watcher.settings = node.watcher;
        return;
      case "full":
        node.disk.settings = { ...node.disk.settings, capacityBytes: node.disk.usedBytes() + step.bytes };
        return;
      case "deny":
        return void this.#denials.set(node, [
          ...(this.#denials.get(node) ?? []),
          { kind: step.kind, code: step.code, left: step.count },
        ]);
      case "unmount":
      case "unmount-empty":
        if (node.unmounted !== undefined || node.kind !== "client") return;
        node.unmounted = node.disk.root;
        node.disk.root = step.do === "unmount" ? undefined : node.disk.newInode("directory");
        return node.disk.emit(undefined);
      case "mount":
        return this.#mount(node);
      case "clock":
        node.clock.skewMs = step.hours * 3_600_000;
        return;
      case "quiesce":
        return this.#quiesce();
      default:
        this.#guarded(() => {
          if (!this.#users[node.number]!.take(step)) this.log.push("      (there is nothing to do that to)");
        });
    }
  }

  #mount(node: SimulatedNode): void {
    if (node.unmounted === undefined) return;
    node.disk.root = node.unmounted;
    node.unmounted = undefined;
    node.disk.emit(undefined);
  }

  #start(node: SimulatedNode): void {
    if (node.isRunning || node.unmounted !== undefined) return;
    try {
      node.ports = node.machine.boot();
      node.ports.hasher.stepMs = this.story.around.hashMs;
      node.wasDeniedUnlink = false;
      node.ports.watcher.settings = node.watcher;
      this.#plant.process?.(node);
      if (node.kind === "server") this.#startHub(node);
      else if (node.kind === "client") this.#startAgent(node);
      else {
        node.literal = new LiteralProcess(node.ports, {
          host: SERVER,
          sendPort: RECEIVE_PORT,
          receivePort: SEND_PORT,
          chunkBytes: 300,
          sends: (data) => void this.oracle.contents.learn(data, "what the literal client sent", false),
        });
        void node.literal.run();
      }
    } catch (error) {
      this.#startFailed(node, node.ports, error);
    }
  }

  #startHub(node: SimulatedNode): void {
    const ports = node.ports!;
    const hub = new Hub(
      ports,
      { ...HUB_SETTINGS, versions: { ...VERSIONS, ...this.#plant.versions } },
      {
        event: (event) => this.#hubTold(event),
        info: () => {},
        warn: (message) => this.#trace(`server warns: ${message}`),
      },
    );
    node.hub = hub;
    hub.recover().then(
      () => {
        if (node.ports === ports && !hub.isStopping) hub.listen();
      },
      (error: unknown) => this.#startFailed(node, ports, error),
    );
  }

  #startAgent(node: SimulatedNode): void {
    const ports = node.ports!;
    const settings: AgentSettings = {
      ...AGENT_DEFAULTS,
      versions: { ...VERSIONS, ...this.#plant.versions },
      rescanMs: RESCAN_MS,
      host: SERVER,
      sendPort: RECEIVE_PORT,
      receivePort: SEND_PORT,
      chunkBytes: [1000, 64, 5000, 333][node.number % 4]!,
      hostName: `client${node.number}`,
      platform: { isWindows: false },
    };
    node.isInSync = false;
    node.agent = new Agent(ports, settings, (event) => {
      if (node.ports !== ports) return;
      this.#trace(`${node.name} tells ${JSON.stringify(event)}`);
      if (event.type === "deleted" && event.side === "here")
        this.#guarded(() => this.oracle.deletedHere(node, event.name));
      if (!["refused", "warning", "held", "released"].includes(event.type))
        node.isInSync = event.type === "in-sync";
    });
    node.agent.start().catch((error: unknown) => this.#startFailed(node, ports, error));
  }

  #startFailed(node: SimulatedNode, ports: unknown, error: unknown): void {
    if (error instanceof ProcessDied || node.ports !== ports) return;
    this.log.push(`      (the ${node.name} does not start: ${String(error)})`);
    node.machine.kill();
    node.dead();
  }

  #stop(node: SimulatedNode): void {
    const { ports, agent, hub } = node;
    if (ports === undefined) return;
    const over = (): void => {
      if (node.ports !== ports) return;
      ports.ledger.close();
      node.machine.kill();
      node.dead();
    };
    const ended = agent?.stop() ?? hub?.stop();
    if (ended === undefined) return over();
    ended.then(over, over);
    const { clock } = this.world;
    clock.wake(clock.monotonicMs() + STOP_GRACE_MS, over);
  }

  // The network.

  #sent(bytes: Uint8Array, from: string, pair: LinkPair): void {
    const side = pair.sides[0].ownAddress === from ? 0 : 1;
    const taps = this.#taps.get(pair) ?? [new WireTap(), new WireTap()];
    this.#taps.set(pair, taps);
    const guarded: number[] = [];
    this.#guarded(() => {
      const { pendingBytes } = pair.sides[side];
      if (pendingBytes > MAX_PENDING_BYTES)
        throw new Violation("bounded buffers", `${pendingBytes} bytes wait on a connection from ${from}`);
      taps[side].push(
        bytes,
        (message) => {
          if (this.#isTraced)
            this.#trace(
              `${from} -> ${pair.sides[side].peer} ${JSON.stringify({ ...message, data: undefined })}`,
            );
        },
        (offset, length) => {
          for (let index = 0; index < length; index++) guarded.push(offset + index);
        },
      );
    });
    for (const address of [from, pair.sides[side].address]) {
      const flips = this.#flips.get(address) ?? 0;
      if (flips > 0 && guarded.length > 0) {
        const at = guarded[this.world.random.integer(0, guarded.length - 1)]!;
        bytes[at]! ^= 1 << this.world.random.integer(0, 7);
        this.#flips.set(address, flips - 1);
      }
      const left = this.#cuts.get(address);
      if (left === undefined) continue;
      if (left >= bytes.length) this.#cuts.set(address, left - bytes.length);
      else {
        this.#cuts.delete(address);
        pair.cut();
      }
    }
  }

  // Rest.

  #quiesce(): void {
    for (const node of this.nodes) {
      node.disk.settings = { ...node.disk.settings, capacityBytes: Infinity };
      node.watcher = WATCHER_DEFAULTS;
      if (node.ports !== undefined) node.ports.watcher.settings = WATCHER_DEFAULTS;
      this.#mount(node);
    }
    for (const faults of [this.#denials, this.#cuts, this.#flips, this.#away]) faults.clear();
    for (const pair of this.world.network.pairs) pair.unstall();
    const { clock } = this.world;
    const endMs = clock.monotonicMs() + HEAL_LIMIT_MS;
    // Whatever was missed is found by the next scan.
    this.#pass(RESCAN_MS + 1_000);
    const literal = this.nodes.find(({ kind }) => kind === "literal");
    let literalPatienceMs = LITERAL_PATIENCE_MS;
    let literalRestartMs = clock.monotonicMs() + literalPatienceMs;
    let quietMs = 0;
    let difference: string | undefined;
    const { syncMs, hashMs } = this.story.around;
    const enoughMs = QUIET_MS + 8 * (syncMs[1] + hashMs[1]);
    while (quietMs < enoughMs) {
      // By its text it gives up what was refused once, until it compares again.
      if (literal !== undefined && clock.monotonicMs() > literalRestartMs) {
        literalPatienceMs *= 2;
        literalRestartMs = clock.monotonicMs() + literalPatienceMs;
        literal.machine.kill();
        literal.dead();
      }
      for (const node of this.nodes) this.#start(node);
      for (const { agent } of this.nodes) if (agent?.status().hold?.isApprovable === true) agent.approve();
      this.#pass(500);
      difference = unrestOf(this.nodes, this.world.network.bytesOnTheirWay) ?? this.#difference();
      quietMs = difference === undefined ? quietMs + 500 : 0;
      if (clock.monotonicMs() > endMs)
        throw new Violation(
          "convergence",
          `half an hour after the last fault ${difference ?? "it is not quiet"}`,
        );
    }
    this.oracle.checkNothingLost();
    this.oracle.checkNothingResurrected();
    this.#checkSilence();
    checkTidy(this.nodes);
  }

  #checkSilence(): void {
    const before = this.#messages();
    this.#pass(SILENCE_MS);
    const said = this.#messages() - before;
    // What is refused because of a twin is offered again from time to time.
    if (said > 0 && !hasTwins(this.nodes))
      throw new Violation(
        "silence",
        `${said} messages were sent in ${SILENCE_MS / 1000} s in which nothing happened`,
      );
    const difference = this.#difference();
    if (difference !== undefined) throw new Violation("convergence", `it was quiet, and then ${difference}`);
  }

  /** A lock outlives its connection only while what came over that is being made visible. */
  #checkLocks(hub: Hub): void {
    const nowMs = this.world.clock.monotonicMs();
    const sessions = new Set([...hub.sessions].map(({ id }) => id));
    const orphans = [...hub.roster.locks()].filter(([, { session }]) => !sessions.has(session));
    for (const [name, { session }] of orphans) {
      const key = `${session} ${name}`;
      const sinceMs = this.#orphans.get(key) ?? nowMs;
      this.#orphans.set(key, sinceMs);
      if (nowMs - sinceMs > COMMIT_MS)
        this.#violation ??= new Violation(
          "locks end",
          `${JSON.stringify(name)} is locked by a connection that is gone`,
        );
    }
  }

  #difference(): string | undefined {
    return differenceOf(this.nodes, this.oracle.contents);
  }

  #messages(): number {
    let messages = 0;
    for (const taps of this.#taps.values()) for (const tap of taps) messages += tap.messages;
    return messages;
  }

  // What watches.

  #before(node: SimulatedNode, kind: string): void {
    if (this.oracle.acting === node) return;
    for (const denial of this.#denials.get(node) ?? []) {
      if (
        denial.left === 0 ||
        (denial.kind !== kind && !(denial.kind === "sync" && kind === "sync-directory"))
      )
        continue;
      denial.left--;
      if (kind === "unlink") node.wasDeniedUnlink = true;
      throw systemError(denial.code);
    }
  }

  #hubTold(event: HubEvent): void {
    this.#trace(`server tells ${JSON.stringify(event)}`);
    this.#guarded(() => this.oracle.hubTold(event));
  }

  #pass(ms: number): void {
    const { clock } = this.world;
    const untilMs = clock.monotonicMs() + ms;
    clock.pass(0);
    for (
      let next = clock.nextMs;
      next !== undefined && next <= untilMs && this.#violation === undefined;
      next = clock.nextMs
    )
      clock.step();
    this.#check();
    clock.pass(untilMs - clock.monotonicMs());
    this.#check();
  }

  /** What is thrown in the middle of somebody else's work waits until that is over. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#violation ??= error as Error;
    }
  }

  #check(): void {
    const hub = this.nodes[0]?.hub;
    if (hub !== undefined) this.#checkLocks(hub);
    if (this.#violation !== undefined) throw this.#violation;
  }

  #trace(line: string): void {
    if (this.#isTraced)
      this.log.push(`      ${(this.world.clock.monotonicMs() / 1000).toFixed(3)} s  ${line}`);
  }
}

const HUB_SETTINGS: HubSettings = {
  address: SERVER,
  sendPort: SEND_PORT,
  receivePort: RECEIVE_PORT,
  maxConnections: 100,
  maxPerAddress: 100,
  maxUploads: 64,
  maxUploadsInAll: 512,
  maxNames: 100_000,
  maxChunkBytes: 2 ** 20,
  maxFileBytes: 2 ** 40,
  chunkBytes: 700,
  leaseMs: 60_000,
  answerTimeoutMs: 30_000,
  keepAliveMs: 30_000,
  workers: 16,
  versions: VERSIONS,
  acceptsMissing: false,
};
