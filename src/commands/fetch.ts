import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { Remote, type RemoteSettings, persist } from "../fetch/remote.ts";
import { DialPolicy } from "../fetch/retry-policy.ts";
import { showTarget } from "../net/dial.ts";
import { type FetchOptions, fetchServers, fetchTable, fetchTask } from "../options/fetch-options.ts";
import { safeName, safeText } from "../report/safe-text.ts";
import { CAPABILITY } from "../wire/messages.ts";
import { parsePath } from "../wire/names.ts";
import { defineDrayCommand, type CommandIo } from "./command.ts";
import { clientSecurity } from "./doors.ts";
import { fetchFromSeveral } from "./fetch-replicas.ts";
import { fetchOneFile, fetchToStdout, fetchWholeTree } from "./fetch-tasks.ts";
import { FetchView } from "./fetch-view.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

export const fetchCommand = defineDrayCommand({ table: fetchTable, run: runFetch });

async function runFetch(options: FetchOptions, io: CommandIo): Promise<number> {
  const { timeoutMs, patienceMs } = options;
  const servers = fetchServers(options);
  const security = await clientSecurity(options, (message) => io.log.warn(message));
  const task = fetchTask(options);
  if (task === "stream" && options.json)
    throw new DrayError("usage", "--json does not go with -: standard output holds the file");
  return untilInterrupted(async (signal) => {
    const settings: Omit<RemoteSettings, "retrying"> = {
      target: servers[0]!,
      client: { agent: AGENT, timeoutMs: Math.max(1, timeoutMs), security },
      needs: { capability: CAPABILITY.content, what: "files" },
      policy: new DialPolicy({ timeoutMs, patienceMs }, performance.now()),
      signal,
    };
    if (task === "list") return listCache(settings, options, io);
    const wanted = parsePath(options.file);
    const view = new FetchView(options, task);
    try {
      const given = { options, wanted, settings: { ...settings, retrying: view.retrying }, view };
      if (task === "stream") return await fetchToStdout(given);
      if (task === "tree") return await fetchWholeTree(given);
      return options.from === undefined ? await fetchOneFile(given) : await fetchFromSeveral(given, servers);
    } catch (error) {
      throw inContext(error, options, view.keptText);
    } finally {
      await view.close();
    }
  });
}

/** What failed, where, why, and what happens next. */
function inContext(error: unknown, options: FetchOptions, kept: string): DrayError {
  const { file } = options;
  const { code, message, cause } = asDrayError(error);
  if (code === "interrupted") return new DrayError(code, `interrupted${kept}`, { cause });
  const isDirectory = code === "refused" && message.startsWith("it is a directory");
  const hint = isDirectory ? " (--recursive fetches it with all that is below it)" : "";
  const servers = fetchServers(options);
  const from = servers.length === 1 ? showTarget(servers[0]!) : `${servers.length} servers`;
  const what = `Cannot fetch ${safeName(file)} from ${from}`;
  return new DrayError(code, `${what}: ${message}${hint}${kept}`, { cause });
}

/** Batches of the list that wait to be printed, each of up to 128 KiB: far more than a cache has names. */
const MAX_UNPRINTED_BATCHES = 512;

/** The names in the server's cache, one a line. */
async function listCache(
  settings: Omit<RemoteSettings, "retrying">,
  { json }: FetchOptions,
  io: CommandIo,
): Promise<number> {
  const remote = new Remote({
    ...settings,
    needs: { capability: CAPABILITY.cache, what: "a list of its cache: it is no `dray fileserve`" },
    retrying: (error) => io.log.info(`${safeText(error.message)} (trying again)`),
  });
  let files = 0;
  let sizeBytes = 0;
  let printed: Promise<void> = Promise.resolve();
  let unprinted = 0;
  // What is printed cannot be taken back: one attempt, once the server is reached.
  const persistence = { attempts: 1, signal: settings.signal, retrying: () => {} };
  try {
    await persist(remote, persistence, (client) =>
      client.cache((entries) => {
        if (++unprinted > MAX_UNPRINTED_BATCHES)
          throw new DrayError("protocol", "the server lists faster than it can be printed, and does not end");
        files += entries.length;
        for (const { size } of entries) sizeBytes += size;
        const lines = entries.map(({ path, size, hits, pins }) =>
          json ? { type: "cached" as const, path, sizeBytes: size, hits, pins } : `${safeText(path)}\n`,
        );
        printed = printed.then(() => printAll(lines, io)).then(() => void unprinted--);
      }),
    );
  } catch (error) {
    await printed;
    const { code, message, cause } = asDrayError(error);
    const what = `Cannot list the cache of ${showTarget(settings.target)}`;
    throw new DrayError(code, `${what}: ${message}`, { cause });
  } finally {
    remote.drop(new DrayError("interrupted", "done"));
  }
  await printed;
  if (json) await io.out.event({ type: "result", files, sizeBytes });
  return 0;
}

async function printAll(lines: readonly (string | { type: "cached" })[], io: CommandIo): Promise<void> {
  const texts = lines.filter((line) => typeof line === "string");
  if (texts.length > 0) await io.out.text(texts.join(""));
  for (const line of lines) if (typeof line !== "string") await io.out.event(line);
}
