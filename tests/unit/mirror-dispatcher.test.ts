import { expect, test } from "bun:test";
import { DrayError } from "../../src/errors/dray-error.ts";
import { Dispatcher } from "../../src/mirror/dispatcher.ts";
import type { Job } from "../../src/mirror/job.ts";
import { Journal } from "../../src/mirror/journal.ts";
import { OrderRun } from "../../src/mirror/order-run.ts";
import type { OrderRequest } from "../../src/wire/order.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { tempFolder } from "../support/temp.ts";
import { Condition } from "../support/wait.ts";

test("what is there is not looked at for a source that is new, unless another order works on it", async () => {
  using folder = tempFolder();
  using source = new ScriptedSource({ files: { a: Buffer.from("one"), b: Buffer.from("two") } });
  const journal = new Journal(folder.join("journal.db"));
  const jobs: Job[] = [];
  const changed = new Condition();
  const looks = [undefined, undefined];
  const unexpected = (): never => {
    throw new Error("nothing is done with the jobs");
  };
  const dispatcher = new Dispatcher(
    journal,
    { workers: 4, queueSize: 64, agent: "test/1", mirrorDirectory: folder.path },
    {
      look: () => Promise.resolve(looks.shift()),
      run: (job) => {
        jobs.push(job);
        changed.changed();
      },
      ...{ tell: unexpected, sourceEnded: unexpected, warn: unexpected },
      ...{ published: unexpected, parked: unexpected },
    },
  );
  const request: OrderRequest = {
    sources: [{ host: "127.0.0.1", port: source.port, path: ".", delayMs: 0 }],
    ...{ attempts: 1, patienceMs: 0, include: [], exclude: [] },
  };
  const start = async (orderId: string, hadJobs: number): Promise<boolean[]> => {
    dispatcher.start(new OrderRun(orderId, request, 1, 0, () => {}), request);
    await changed.until(
      () => (jobs.length >= hadJobs + 2 ? jobs : undefined),
      () => "two jobs",
    );
    return jobs.slice(hadJobs).map(({ isNew }) => isNew);
  };
  expect(await start("0af1", 0)).toEqual([true, true]);
  expect(await start("0af2", 2)).toEqual([false, false]);
  dispatcher.stop(new DrayError("interrupted", "the mirror is shutting down"));
  journal.close();
});

test("a list that is being looked through when the mirror stops never counts as complete", async () => {
  using folder = tempFolder();
  using source = new ScriptedSource({ files: { a: Buffer.from("one"), b: Buffer.from("two") } });
  const journal = new Journal(folder.join("journal.db"));
  const answers: ((stands: Uint8Array) => void)[] = [];
  const asked = new Condition();
  const unexpected = (): never => {
    throw new Error("a stopped mirror does nothing");
  };
  const dispatcher = new Dispatcher(
    journal,
    { workers: 2, queueSize: 64, agent: "test/1", mirrorDirectory: folder.path },
    {
      look: (listed) => {
        expect(listed.paths).toBe("a\0b\0");
        return new Promise((resolve) => {
          answers.push(resolve);
          asked.changed();
        });
      },
      ...{ run: unexpected, tell: unexpected, sourceEnded: unexpected, warn: unexpected },
      ...{ published: unexpected, parked: unexpected },
    },
  );
  const request: OrderRequest = {
    sources: [{ host: "127.0.0.1", port: source.port, path: ".", delayMs: 0 }],
    ...{ attempts: 1, patienceMs: 0, include: [], exclude: [] },
  };
  const order = new OrderRun("0af1", request, 1, 0, () => {});
  dispatcher.start(order, request);
  await asked.until(
    () => answers[0],
    () => "a look at the list",
  );
  dispatcher.stop(new DrayError("interrupted", "the mirror is shutting down"));
  for (const answer of answers) answer(new Uint8Array(2));
  await source.until(
    () => (source.connections[0]?.isClosed === true ? true : undefined),
    "the end of the list",
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect(journal.listSize("0af1", 0)).toBeUndefined();
  journal.close();
});
