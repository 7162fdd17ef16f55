import { expect, test } from "bun:test";
import fc from "fast-check";
import { JobQueue } from "../../src/sync/server/job-queue.ts";
import { Replies } from "../../src/sync/server/replies.ts";
import { UpdateQueue } from "../../src/sync/server/update-queue.ts";
import { runs } from "./runs.ts";

const name = fc.constantFrom("a", "b", "c", "d");

test("an update queue holds each name once, in its turn, and keeps those that failed until they are due", () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("add" as const), name }),
    fc.record({ do: fc.constant("later" as const), name, ms: fc.nat(100) }),
    fc.record({ do: fc.constant("remove" as const), name }),
    fc.record({ do: fc.constant("take" as const), ms: fc.nat(60) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const queue = new UpdateQueue();
      const ready: string[] = [];
      const later = new Map<string, number>();
      let nowMs = 0;
      for (const next of steps) {
        if (next.do === "add") {
          expect(queue.add(next.name)).toBe(!ready.includes(next.name));
          if (!ready.includes(next.name)) ready.push(next.name);
          later.delete(next.name);
        } else if (next.do === "later") {
          queue.addLater(next.name, nowMs + next.ms);
          if (!ready.includes(next.name)) later.set(next.name, nowMs + next.ms);
        } else if (next.do === "remove") {
          queue.remove(next.name);
          if (ready.includes(next.name)) ready.splice(ready.indexOf(next.name), 1);
          later.delete(next.name);
        } else {
          nowMs += next.ms;
          const due = [...later].filter(([, atMs]) => atMs <= nowMs).map(([waiting]) => waiting);
          for (const waiting of due) later.delete(waiting);
          const taken = queue.take(nowMs);
          if (ready.length > 0) expect(taken).toBe(ready.shift());
          else if (due.length > 0) {
            expect(due).toContain(taken!);
            due.splice(due.indexOf(taken!), 1);
          } else expect(taken).toBeUndefined();
          ready.push(...due);
        }
        expect(queue.size).toBe(ready.length + later.size);
        for (const known of ["a", "b", "c", "d"])
          expect(queue.has(known)).toBe(ready.includes(known) || later.has(known));
        const isWaiting = ready.length === 0 && later.size > 0;
        expect(queue.dueMs !== undefined).toBe(isWaiting);
        if (isWaiting) expect(queue.dueMs!).toBeLessThanOrEqual(Math.min(...later.values()));
      }
    }),
    runs(300),
  );
});

test("answers go out in the order of what they answer, whenever they are known", () => {
  const order = fc
    .integer({ min: 1, max: 600 })
    .chain((count) =>
      fc.tuple(
        fc.shuffledSubarray([...Array(count).keys()], { minLength: count }),
        fc.array(fc.boolean(), { minLength: count, maxLength: count }),
      ),
    );
  fc.assert(
    fc.property(order, ([settled, silent]) => {
      const sent: number[] = [];
      const replies = new Replies((code) => sent.push(code));
      const slots = settled.map(() => replies.expect());
      const known = new Set<number>();
      for (const index of settled) {
        slots[index]!.settle(silent[index] === true ? undefined : index);
        slots[index]!.settle(99_999); // only the first answer counts
        known.add(index);
        let due = 0;
        while (known.has(due)) due++;
        expect(sent).toEqual([...Array(due).keys()].filter((at) => silent[at] !== true));
        expect(replies.waiting).toBe(settled.length - due);
      }
    }),
    runs(100),
  );
});

test("jobs begin in the order in which they came, at most so many at a time, and failures end only themselves", async () => {
  const jobs = fc.array(fc.boolean(), { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      jobs,
      fc.infiniteStream(fc.nat()),
      async (workers, fails, chosen) => {
        const queue = new JobQueue(workers);
        const begun: number[] = [];
        const running = new Map<number, () => void>();
        const outcomes = fails.map((isFailing, index) =>
          queue.run(async () => {
            begun.push(index);
            await new Promise<void>((resolve) => running.set(index, resolve));
            running.delete(index);
            if (isFailing) throw new Error(`job ${index}`);
            return index;
          }),
        );
        const settled = Promise.allSettled(outcomes);
        for (let ended = 0; ended < fails.length; ended++) {
          for (let turn = 0; turn < 10; turn++) await Promise.resolve();
          expect(running.size).toBe(Math.min(workers, fails.length - ended));
          expect(queue.running).toBe(running.size);
          const ids = [...running.keys()];
          running.get(ids[(chosen.next().value as number) % ids.length]!)!();
          for (let turn = 0; turn < 10; turn++) await Promise.resolve();
        }
        expect(begun).toEqual([...fails.keys()]);
        for (const [index, outcome] of (await settled).entries())
          expect(outcome.status).toBe(fails[index] === true ? "rejected" : "fulfilled");
        await queue.idle();
        expect(queue.running + queue.waiting).toBe(0);
      },
    ),
    runs(40),
  );
});
