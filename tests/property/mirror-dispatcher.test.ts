import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { Dispatcher } from "../../src/mirror/dispatcher.ts";
import type { Job, JobDone, JobItem, Outcome } from "../../src/mirror/job.ts";
import { ITEM_STATE } from "../../src/mirror/journal-schema.ts";
import { Journal, type JournaledOrder, type ListedItem } from "../../src/mirror/journal.ts";
import { OrderRun } from "../../src/mirror/order-run.ts";
import type { OrderResult } from "../../src/wire/order.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { runs } from "./runs.ts";

setDefaultTimeout(60_000);

const WORKERS = 3;
const ID = "0af1";

const folder = ramFolder(20_000_000);
afterAll(() => folder[Symbol.dispose]());

/** What becomes of an item when a lane tries it. */
type Fate = "comes" | "fails" | "comes the second time";

/** A mirror without network and threads: what lanes would do is up to the test, and so is when it dies. */
class Bench {
  readonly #journalPath: string;
  readonly #fates: ReadonlyMap<string, Fate>;
  #journal: Journal;
  #dispatcher!: Dispatcher;
  #run!: OrderRun;
  #running: Job[] = [];
  #unended: number;
  /** What is on the disk under its final name. */
  readonly published = new Set<string>();
  /** How often each file came over the network. */
  readonly fetched = new Map<string, number>();
  readonly #returned = new Set<string>();
  result: OrderResult | undefined;

  constructor(journalPath: string, order: JournaledOrder, fates: ReadonlyMap<string, Fate>) {
    this.#journalPath = journalPath;
    this.#fates = fates;
    this.#journal = new Journal(journalPath);
    this.#journal.saveOrder(order);
    this.#unended = order.request.sources.length;
  }

  add(position: number, items: readonly ListedItem[]): void {
    this.#journal.addItems(ID, position, items);
    this.#journal.markListComplete(ID, position, items.length);
  }

  start(): void {
    const order = this.#journal.orders()[0]!;
    const dispatcher = new Dispatcher(
      this.#journal,
      { workers: WORKERS, queueSize: 64, agent: "test", mirrorDirectory: folder.path },
      {
        run: (job) => {
          if (this.#dispatcher === dispatcher) this.#running.push(job);
        },
        look: () => {
          throw new Error("nothing is listed");
        },
        tell: (_, { type }) => {
          if (type !== "hang-up") throw new Error("nothing is limited");
        },
        sourceEnded: (_, source) => {
          if (this.#dispatcher !== dispatcher) return;
          this.#run.sourceEnded(source);
          if (--this.#unended > 0) return;
          this.result = this.#run.end(2, this.#failures());
        },
        published: () => {},
        parked: () => {},
        warn: (message) => {
          throw new Error(message);
        },
      },
    );
    this.#dispatcher = dispatcher;
    this.#unended = order.request.sources.length;
    this.#run = new OrderRun(ID, order.request, 1, order.bytesTransferred, () => {});
    dispatcher.start(this.#run, order.request);
  }

  /** The process is killed: what lanes had under way may be on the disk, and nobody knows. */
  kill(publishes: (path: string) => boolean): void {
    const stopped = this.#dispatcher;
    for (const item of this.#running.splice(0).flatMap(({ items }) => items)) {
      if (item.kind === "file" && this.#fates.get(item.path) !== "fails" && publishes(item.path)) {
        if (!this.published.has(item.path)) this.#fetch(item.path);
      }
    }
    this.#journal.close();
    this.#journal = new Journal(this.#journalPath);
    this.start();
    stopped.stop(new DrayError("interrupted", "killed"));
  }

  /** One of the lanes' oldest jobs is done. @returns false when nothing is running */
  finish(pick: number): boolean {
    const lanes = [...new Set(this.#running.map(({ lane }) => lane))];
    if (lanes.length === 0) return false;
    const lane = lanes[pick % lanes.length]!;
    const job = this.#running.find((job) => job.lane === lane)!;
    this.#running.splice(this.#running.indexOf(job), 1);
    const outcomes = job.items.map((item) => this.#outcome(item.kind, item.path, item.sizeBytes));
    const receivedBytes = outcomes.reduce(
      (sum, outcome) => sum + (outcome.kind === "fetched" ? outcome.sizeBytes : 0),
      0,
    );
    const done: JobDone = {
      type: "done",
      jobId: job.jobId,
      lane,
      outcomes,
      receivedBytes,
      connection: { state: "kept" },
    };
    this.#dispatcher.done(done);
    return true;
  }

  close(): void {
    this.#dispatcher.stop(new DrayError("interrupted", "the test is over"));
    this.#journal.close();
  }

  #outcome(kind: JobItem["kind"], path: string, sizeBytes: number): Outcome {
    if (kind === "directory") return { kind: "directory" };
    if (this.published.has(path)) return { kind: "unchanged", sizeBytes };
    const fate = this.#fates.get(path);
    if (fate === "fails") return { kind: "failed", code: "refused", message: "no", mayPass: false };
    if (fate === "comes the second time" && !this.#returned.has(path)) {
      this.#returned.add(path);
      return { kind: "returned" };
    }
    this.#fetch(path);
    return { kind: "fetched", sizeBytes, reason: "new" };
  }

  #fetch(path: string): void {
    this.published.add(path);
    this.fetched.set(path, (this.fetched.get(path) ?? 0) + 1);
  }

  *#failures(): Generator<OrderResult["failures"][number], void> {
    for (const [position, { source }] of this.#run.sources.entries()) {
      const { host, port } = source;
      for (const { path, code, message } of this.#journal.failed(ID, position))
        yield { host, port, path, code: code!, message: message! };
    }
  }
}

const item = fc.record({
  isDirectory: fc.boolean(),
  sizeBytes: fc.oneof(fc.nat(10_000), fc.integer({ min: 0, max: 2 ** 35 })),
  fate: fc.constantFrom<Fate>("comes", "comes", "fails", "comes the second time"),
  state: fc.constantFrom(ITEM_STATE.waiting, ITEM_STATE.waiting, ITEM_STATE.waiting, ITEM_STATE.skipped),
});

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("finish" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("kill" as const), publishes: fc.nat() }) },
);

let journals = 0;

test("an order counts every item once, whatever its lanes do and whenever it is killed", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(item, { maxLength: 150 }), { minLength: 1, maxLength: 3 }),
      fc.array(step, { maxLength: 60 }),
      async (sources, steps) => {
        const named = sources.map((items, position) =>
          items.map((item, index) => ({ ...item, path: `${position}/${index}` })),
        );
        const all = named.flat();
        const order: JournaledOrder = {
          id: ID,
          request: {
            sources: sources.map((_, position) => ({
              host: "h",
              port: 1 + (position % 2),
              path: ".",
              delayMs: position === 1 ? 5 : 0,
            })),
            attempts: 1,
            patienceMs: 60_000,
            include: [],
            exclude: [],
          },
          state: "running",
          createdMs: 1,
          startedMs: 1,
          dueMs: undefined,
          bytesTransferred: 0,
          result: undefined,
        };
        const fates = new Map(all.map(({ path, fate }) => [path, fate]));
        const bench = new Bench(folder.join(`journal-${journals++}.db`), order, fates);
        for (const [position, items] of named.entries()) {
          bench.add(
            position,
            items.map(({ path, isDirectory, sizeBytes, state }) => ({
              kind: isDirectory ? "directory" : "file",
              path,
              sizeBytes: isDirectory ? 0 : sizeBytes,
              mtimeUs: 1,
              mode: 0o644,
              target: "",
              state,
              failure: state === ITEM_STATE.skipped ? { code: "refused", message: "a link" } : undefined,
            })),
          );
        }
        bench.start();
        for (const one of steps) {
          if (one.do === "finish") bench.finish(one.pick);
          else if (bench.result === undefined) bench.kill((path) => (path.length + one.publishes) % 2 === 0);
          await Promise.resolve(); // a source without work ends in a microtask
        }
        for (let round = 0; bench.finish(round) || bench.result === undefined; round++) {
          expect(round).toBeLessThan(5000);
          await Promise.resolve();
        }
        bench.close();

        const skipped = all.filter(({ state }) => state === ITEM_STATE.skipped);
        const wanted = all.filter(({ state }) => state === ITEM_STATE.waiting);
        const directories = wanted.filter(({ isDirectory }) => isDirectory);
        const files = wanted.filter(({ isDirectory }) => !isDirectory);
        const failing = files.filter(({ fate }) => fate === "fails");
        const coming = files.filter(({ fate }) => fate !== "fails");
        expect(bench.result).toMatchObject({
          files: coming.length,
          directories: directories.length,
          bytes: coming.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
          skipped: skipped.length,
          failed: failing.length,
        });
        const failures = bench.result.failures.map(({ path }) => path);
        expect(failures.sort()).toEqual(failing.map(({ path }) => path).sort());
        expect([...bench.published].sort()).toEqual(coming.map(({ path }) => path).sort());
        // Published is published: nothing comes over the network twice.
        expect(bench.fetched.size).toBe(coming.length);
        expect([...bench.fetched.values()].every((times) => times === 1)).toBe(true);
      },
    ),
    runs(120),
  );
});
