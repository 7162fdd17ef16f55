import { type Random, seededRandom } from "../random.ts";

/** Whom a step concerns: 0 is the server, 1 and up are our clients, the last one is the literal client. */
export type MachineNumber = number;

/** What happens, `after` milliseconds behind the step before it. */
export type Step = { readonly after: number; readonly on: MachineNumber } & (
  | { readonly do: "write"; readonly name: string; readonly bytes: number; readonly synced?: boolean }
  /** In portions, with pauses; through one open file, or opening it anew each time. */
  | {
      readonly do: "append";
      readonly name: string;
      readonly parts: number;
      readonly pause: number;
      readonly held: boolean;
    }
  /** To a temporary name, then renamed over the real one. */
  | { readonly do: "atomic-save"; readonly name: string; readonly bytes: number }
  /** The old one is renamed away, then the new one written. */
  | { readonly do: "backup-save"; readonly name: string; readonly bytes: number }
  /** Other bytes, the same size, the same modification time. */
  | { readonly do: "stealth"; readonly name: string }
  | { readonly do: "delete"; readonly name: string }
  | { readonly do: "rename"; readonly name: string; readonly to: string }
  /** The process: SIGKILL, a power failure (with what was not synced lost), an orderly end, a start. */
  | { readonly do: "kill" | "power" | "stop" | "start" }
  /** The next link of this machine that is used breaks after so many bytes more. */
  | { readonly do: "cut"; readonly bytes: number }
  /** Bits of chunks are flipped on the way, so many times. */
  | { readonly do: "flip"; readonly count: number }
  /** Nothing arrives on this machine's links for a while. */
  | { readonly do: "stall"; readonly ms: number }
  /** Nobody reaches this machine for a while; what is connected is cut. */
  | { readonly do: "away"; readonly ms: number }
  /** The literal client ends its own side of a connection. */
  | { readonly do: "half-close"; readonly channel: "sending" | "receiving" }
  /** From now on the watcher loses, doubles or overflows part of its events. */
  | { readonly do: "watcher"; readonly lost: number; readonly doubled: number; readonly overflown: number }
  /** The disk takes so many bytes more. */
  | { readonly do: "full"; readonly bytes: number }
  /** The next operations on the disk of this kind fail. */
  | {
      readonly do: "deny";
      readonly kind: DeniedKind;
      readonly code: "EACCES" | "EIO";
      readonly count: number;
    }
  | { readonly do: "unmount" | "mount" | "unmount-empty" }
  | { readonly do: "clock"; readonly hours: number }
  /** All faults end; everything has to become quiet and the same everywhere. */
  | { readonly do: "quiesce" }
);

export type DeniedKind = "read" | "create" | "write" | "rename" | "link" | "unlink" | "sync" | "mkdir";

/** How the machines and the network of a world are. */
export interface Surroundings {
  readonly latencyMs: readonly [number, number];
  readonly portionBytes: number;
  readonly windowBytes: number;
  /** The steps in which the times of files go. */
  readonly tickMs: number;
  /** What a sync of a file, a directory or the ledger takes. */
  readonly syncMs: readonly [number, number];
  /** What hashing takes, a step. */
  readonly hashMs: readonly [number, number];
  /** Machines whose file system has no hard links. */
  readonly withoutLinks: readonly MachineNumber[];
}

export interface Story {
  /** Of all that happens by chance while the story goes on: delays, portions, what a power failure leaves. */
  readonly seed: number;
  /** Of ours. */
  readonly clients: number;
  readonly hasLiteral: boolean;
  readonly around: Surroundings;
  readonly steps: readonly Step[];
}

const NAMES = ["a", "b", "c", "d/x", "d/y", "e/f/z", "ä"];
const TWIN = "A";

/** The story of a seed. What a seed means changes with this function; stories to be kept are kept as they are. */
export function storyOf(seed: number): Story {
  const random = seededRandom(seed * 2 + 1);
  const clients = random.integer(2, 4);
  const hasLiteral = random.next() < 0.4;
  const machines = clients + (hasLiteral ? 1 : 0);
  const faults = FAULT_MIXES[random.integer(0, FAULT_MIXES.length - 1)]!;
  const names = NAMES.slice(0, random.integer(1, NAMES.length));
  if (random.next() < 0.15) names.push(TWIN);
  const steps: Step[] = [];
  const phases = random.integer(1, 3);
  for (let phase = 0; phase < phases; phase++) {
    const count = random.integer(2, 12);
    for (let index = 0; index < count; index++) {
      const after = pauseOf(random);
      const isFault = faults.length > 0 && random.next() < 0.4;
      const on = random.integer(1, machines);
      if (isFault) steps.push({ after, ...faultOf(random, faults, machines, hasLiteral) });
      else steps.push({ after, on, ...changeOf(random, names) });
    }
    steps.push({ after: pauseOf(random), on: 0, do: "quiesce" });
  }
  const around = surroundingsOf(random, machines);
  const rare = seededRandom(seed * 2);
  if (rare.next() < 0.1) steps.splice(-1, 0, ...crowdOf(rare, clients, machines));
  return { seed, clients, hasLiteral, around, steps };
}

/** Files that change again while they wait for a machine that takes nothing. */
function crowdOf(random: Random, clients: number, machines: number): Step[] {
  const author = random.integer(1, clients);
  const slow = author === machines ? 1 : machines;
  const write = (after: number, name: string, bytes: number): Step => ({
    after,
    on: author,
    do: "write",
    name,
    bytes,
  });
  return [
    { after: 4_000, on: slow, do: "stall", ms: random.integer(5_000, 25_000) },
    write(0, "b", 4_000),
    write(random.integer(0, 200), "c", random.integer(100, 4_000)),
    write(random.integer(1_000, 3_000), "c", random.integer(100, 4_000)),
  ];
}

export const CALM: Surroundings = {
  latencyMs: [0.1, 5],
  portionBytes: 65_536,
  windowBytes: 262_144,
  tickMs: 1,
  syncMs: [0, 4],
  hashMs: [0, 3],
  withoutLinks: [],
};

function surroundingsOf(random: Random, machines: number): Surroundings {
  const one = <T>(...choices: T[]): T => choices[random.integer(0, choices.length - 1)]!;
  return {
    latencyMs: one<[number, number]>([0.1, 5], [0.1, 1], [20, 80]),
    portionBytes: one(40, 500, 65_536),
    windowBytes: one(1_000, 262_144),
    tickMs: one(1, 4, 10, 1_000),
    // A busy disk keeps a sync waiting for longer than a file takes to come to rest.
    syncMs: one<[number, number]>([0, 4], [0, 4], [0, 100], [0, 2_500]),
    hashMs: one<[number, number]>([0, 3], [0, 3], [0, 50]),
    withoutLinks: Array.from({ length: machines + 1 }, (_, number) => number).filter(
      () => random.next() < 0.1,
    ),
  };
}

type Unplaced<S> = S extends Step ? Omit<S, "after" | "on"> : never;
type Untimed<S> = S extends Step ? Omit<S, "after"> : never;
type Fault =
  | "kill"
  | "power"
  | "stop"
  | "cut"
  | "flip"
  | "stall"
  | "away"
  | "half-close"
  | "watcher"
  | "full"
  | "deny"
  | "mount"
  | "clock";

const FAULT_MIXES: readonly (readonly Fault[])[] = [
  [],
  ["cut", "flip", "stall", "away", "half-close"],
  ["kill", "power", "stop"],
  ["watcher", "clock", "stop"],
  ["full", "deny", "kill"],
  ["mount", "watcher", "away"],
  ["cut", "away", "kill", "stop"],
  [
    "kill",
    "power",
    "stop",
    "cut",
    "flip",
    "stall",
    "away",
    "half-close",
    "watcher",
    "full",
    "deny",
    "mount",
    "clock",
  ],
];

function pauseOf(random: Random): number {
  switch (random.integer(0, 5)) {
    case 0:
      return 0;
    case 1:
    case 2:
      return random.integer(1, 30);
    case 3:
    case 4:
      return random.integer(30, 800);
    default:
      return random.integer(800, 8_000);
  }
}

function sizeOf(random: Random): number {
  const size = random.integer(0, 9);
  if (size === 0) return 0;
  return size < 7 ? random.integer(12, 300) : random.integer(300, 5_000);
}

function changeOf(random: Random, names: readonly string[]): Unplaced<Step> {
  const name = names[random.integer(0, names.length - 1)]!;
  const bytes = sizeOf(random);
  switch (random.integer(0, 13)) {
    case 0:
    case 1:
    case 2:
      return { do: "delete", name };
    case 3:
      return { do: "rename", name, to: names[random.integer(0, names.length - 1)]! };
    case 4:
      return {
        do: "append",
        name,
        parts: random.integer(2, 6),
        pause: random.integer(1, 400),
        held: random.next() < 0.5,
      };
    case 5:
      return { do: "atomic-save", name, bytes };
    case 6:
      return { do: "backup-save", name, bytes };
    case 7:
      return { do: "stealth", name };
    case 8:
      return { do: "write", name, bytes, synced: true };
    default:
      return { do: "write", name, bytes };
  }
}

const DENIED: readonly DeniedKind[] = [
  "read",
  "create",
  "write",
  "rename",
  "link",
  "unlink",
  "sync",
  "mkdir",
];

function faultOf(
  random: Random,
  faults: readonly Fault[],
  machines: number,
  hasLiteral: boolean,
): Untimed<Step> {
  const on = random.integer(0, machines);
  const client = random.integer(1, machines);
  const fault = faults[random.integer(0, faults.length - 1)]!;
  switch (fault) {
    case "kill":
    case "power":
    case "stop":
      return random.next() < 0.5 ? { on, do: fault } : { on, do: "start" };
    case "cut":
      return {
        on: client,
        do: "cut",
        bytes: random.integer(0, 1) === 0 ? random.integer(0, 200) : random.integer(0, 6_000),
      };
    case "flip":
      return { on: client, do: "flip", count: random.integer(1, 5) };
    case "stall":
      return { on: client, do: "stall", ms: random.integer(10, 90_000) };
    case "away":
      return { on: client, do: "away", ms: random.integer(10, 40_000) };
    case "half-close":
      if (!hasLiteral) return { on: client, do: "cut", bytes: 0 };
      return { on: machines, do: "half-close", channel: random.next() < 0.5 ? "sending" : "receiving" };
    case "watcher":
      return {
        on: client,
        do: "watcher",
        lost: random.next(),
        doubled: random.next(),
        overflown: random.next() / 2,
      };
    case "full":
      return { on, do: "full", bytes: random.integer(0, 3_000) };
    case "deny": {
      const kind = DENIED[random.integer(0, DENIED.length - 1)]!;
      return {
        on,
        do: "deny",
        kind,
        code: random.next() < 0.5 ? "EACCES" : "EIO",
        count: random.integer(1, 4),
      };
    }
    case "mount":
      return { on: client, do: (["unmount", "mount", "unmount-empty"] as const)[random.integer(0, 2)]! };
    case "clock":
      return { on, do: "clock", hours: random.integer(-24, 24) };
  }
}

/** A step as one line. */
export function describeStep(story: Story, step: Step): string {
  const { after, on, do: what, ...details } = step;
  const values = Object.entries(details).map(([key, value]) =>
    key === "name" ? JSON.stringify(value) : `${key} ${JSON.stringify(value)}`,
  );
  return `+${after} ms ${what === "quiesce" ? "" : `${nameOf(story, on)}: `}${[what, ...values].join(" ")}`;
}

export function nameOf({ clients }: Pick<Story, "clients">, machine: MachineNumber): string {
  if (machine === 0) return "server";
  return machine <= clients ? `client ${machine}` : "literal client";
}
