import * as os from "node:os";
import { DrayError, asDrayError, withContext } from "../errors/dray-error.ts";
import type { PutOptions } from "../options/put-options.ts";
import { exitCodeOfMany } from "../report/put-exit-code.ts";
import { THREAD_URL } from "../thread-url.ts";
import { RepairRun } from "../upload/repair-run.ts";
import type { ServerPutSettings } from "../upload/server-put.ts";
import { SplitRun } from "../upload/split-run.ts";
import { parsePath } from "../wire/names.ts";
import type { CommandIo } from "./command.ts";
import { clientSecurity } from "./doors.ts";
import { putNames } from "./put-names.ts";
import { untilInterrupted } from "./shutdown.ts";
import { SplitView } from "./split-view.ts";
import { AGENT } from "./version.ts";

/** More would only wait for the disk. */
const MAX_THREADS = 4;

/** `put --copies` and `put --repair`. @returns the exit code */
export async function runSplitPut(options: PutOptions, io: CommandIo): Promise<number> {
  const { recursive, copies, partSize, repair, to: targets } = options;
  const { connections, digest, attempts, timeoutMs, patienceMs } = options;
  const named = repair ? [] : putNames(options);
  const names = repair ? options.files.map(repairedName) : [];
  const security = await clientSecurity(options, (message) => io.log.warn(message));
  return untilInterrupted(async (signal) => {
    const view = new SplitView(options);
    const client = { agent: AGENT, timeoutMs: Math.max(1, timeoutMs), security };
    const put: ServerPutSettings = { client, connections, digest, attempts, timeoutMs, patienceMs, signal };
    const threads = Math.min(MAX_THREADS, os.availableParallelism());
    const run = repair
      ? new RepairRun({ names, targets, put, copies }, view.events)
      : new SplitRun(
          {
            named,
            recursive,
            targets,
            put,
            copies: copies!,
            partBytes: partSize,
            threadUrl: THREAD_URL,
            threads,
          },
          view.events,
        );
    view.follow(run);
    try {
      await run.run();
      view.result();
      return exitCodeOfMany(run.totals.files, [...view.codes]);
    } catch (error) {
      if (!signal.aborted) throw error;
      const what = "the servers keep what they have, and the same command goes on from there";
      throw new DrayError("interrupted", `interrupted; ${what}`, { cause: asDrayError(error) });
    } finally {
      await view.close();
    }
  });
}

function repairedName(name: string): string {
  try {
    return parsePath(name).join("/");
  } catch (error) {
    throw new DrayError("usage", withContext("FILE", error).message, { cause: error });
  }
}
