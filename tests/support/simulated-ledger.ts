import type { Clock, Ledger, LedgerChange } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";

type Tables = Map<string, Map<string, string>>;

/** The rows of a machine's ledger, which outlive its processes. */
export class SimulatedLedgerStore {
  readonly #clock: Clock;
  readonly #random: Random;
  /** Puts that the running system sees and that are not durable yet, oldest first. */
  #fresh: (readonly LedgerChange[])[] = [];
  #durable: Tables = new Map();
  tables: Tables = new Map();
  generation = 0;
  /** What making it durable takes, from and to. */
  syncMs: readonly [number, number] = [0, 4];
  /** Told before each put; a throw is its failure. */
  before: (changes: readonly LedgerChange[]) => void = () => {};

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** The ledger for a process; what it has under way when revoked is not told to it. */
  open(isDead: () => boolean): Ledger {
    return {
      isSetAside: false,
      get: (table, key) => this.tables.get(table)?.get(key),
      rows: (table) => sorted(this.tables.get(table)),
      put: (changes) => this.#put(changes, isDead),
      close: () => {},
    };
  }

  /** The power fails: some of the last puts are lost, whole ones, and the later before the earlier. */
  losePower(): void {
    this.generation++;
    for (const changes of this.#fresh.slice(0, this.#random.integer(0, this.#fresh.length)))
      apply(this.#durable, changes);
    this.#fresh = [];
    this.tables = new Map([...this.#durable].map(([table, rows]) => [table, new Map(rows)]));
  }

  async #put(changes: readonly LedgerChange[], isDead: () => boolean): Promise<void> {
    if (isDead()) return await new Promise(() => {});
    this.before(changes);
    apply(this.tables, changes);
    this.#fresh.push(changes);
    const { generation } = this;
    const { promise, resolve } = Promise.withResolvers<void>();
    const [fromMs, toMs] = this.syncMs;
    this.#clock.wake(this.#clock.monotonicMs() + fromMs + this.#random.next() * (toMs - fromMs), () => {
      if (this.generation !== generation) return;
      const position = this.#fresh.indexOf(changes);
      for (const earlier of this.#fresh.splice(0, position + 1)) apply(this.#durable, earlier);
      if (!isDead()) resolve();
    });
    return await promise;
  }
}

function apply(tables: Tables, changes: readonly LedgerChange[]): void {
  for (const { table, key, value } of changes) {
    const rows = tables.get(table) ?? new Map<string, string>();
    tables.set(table, rows);
    if (value === undefined) rows.delete(key);
    else rows.set(key, value);
  }
}

function sorted(rows: Map<string, string> | undefined): [string, string][] {
  return [...(rows ?? [])].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
