import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { putTable, type PutOptions } from "../options/put-options.ts";
import { exitCodeOfMany } from "../report/put-exit-code.ts";
import { PutRun } from "../upload/put-run.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { clientSecurity } from "./doors.ts";
import { putNames } from "./put-names.ts";
import { runSplitPut } from "./put-parts.ts";
import { PutView } from "./put-view.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const putCommand = defineDrayCommand({ table: putTable, run: runPut });

async function runPut(options: PutOptions, io: CommandIo): Promise<number> {
  if (options.copies !== undefined || options.repair) return runSplitPut(options, io);
  const { recursive, connections, digest, attempts, timeoutMs, patienceMs, to: targets } = options;
  const named = putNames(options);
  const security = await clientSecurity(options, (message) => io.log.warn(message));
  return untilInterrupted(async (signal) => {
    const view = new PutView(options);
    const client = { agent: AGENT, timeoutMs: Math.max(1, timeoutMs), security };
    const limits = { connections, digest, attempts, timeoutMs, patienceMs };
    const run = new PutRun({ named, recursive, targets, client, ...limits, signal }, view.events);
    view.follow(run);
    try {
      await run.run();
      view.result();
      return exitCodeOfMany(
        run.servers.reduce((sum, server) => sum + server.files, 0),
        [...view.codes],
      );
    } catch (error) {
      if (!signal.aborted) throw error;
      const what = "the servers keep what they have of large files, and the same command goes on from there";
      throw new DrayError("interrupted", `interrupted; ${what}`, { cause: asDrayError(error) });
    } finally {
      await view.close();
    }
  });
}
