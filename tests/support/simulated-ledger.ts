import type { Clock, Ledger, LedgerChange } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";

type Tables = Map<string, Map<string, string>>;

/** The rows of a machine's ledger, which outlive its processes. */
export class SimulatedLedgerStore {
  readonly #clock: Clock;
  readonly #random: Random;
  /** Puts that the running system sees and that are not durable yet, oldest first. */
  #fresh: (readonly LedgerChange[])[] = [];
  /** Of those, the first so many outlive the process: they are in the hands of the system. */
  #handedOver = 0;
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
      close: () => {
        if (!isDead()) this.#handedOver = this.#fresh.length;
      },
    };
  }

  /** The process is killed: puts that wait for their transaction, at the end of the turn, are lost, the later before the earlier. */
  loseProcess(): void {
    if (this.#fresh.length > this.#handedOver) {
      this.#fresh.length = this.#random.integer(this.#handedOver, this.#fresh.length);
      this.#restart();
    }
    this.#handedOver = this.#fresh.length;
  }

  /** The power fails: some of the last puts are lost, whole ones, and the later before the earlier. */
  losePower(): void {
    this.generation++;
    for (const changes of this.#fresh.slice(0, this.#random.integer(0, this.#fresh.length)))
      apply(this.#durable, changes);
    this.#fresh = [];
    this.#handedOver = 0;
    this.#restart();
  }

  #restart(): void {
    this.tables = new Map([...this.#durable].map(([table, rows]) => [table, new Map(rows)]));
    for (const changes of this.#fresh) apply(this.tables, changes);
  }

  async #put(changes: readonly LedgerChange[], isDead: () => boolean): Promise<void> {
    if (isDead()) return await new Promise(() => {});
    this.before(changes);
    apply(this.tables, changes);
    this.#fresh.push(changes);
    const { generation } = this;
    // At the end of the turn.
    this.#clock.wake(this.#clock.monotonicMs(), () => {
      if (this.generation === generation && !isDead()) this.#handedOver = this.#fresh.length;
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    const [fromMs, toMs] = this.syncMs;
    this.#clock.wake(this.#clock.monotonicMs() + fromMs + this.#random.next() * (toMs - fromMs), () => {
      if (this.generation !== generation) return;
      const position = this.#fresh.indexOf(changes);
      for (const earlier of this.#fresh.splice(0, position + 1)) apply(this.#durable, earlier);
      this.#handedOver = Math.max(0, this.#handedOver - (position + 1));
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
