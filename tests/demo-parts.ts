/**
 * `npm run demo:parts`: the story of seed 004 on this machine, before your eyes. Fifty servers, three files that are
 * split into parts, five copies of each part; the files are fetched while servers are killed, until each part has one
 * living copy; then the last copy of one part dies and comes back, and in the end all is repaired. A tenth of the
 * seed's sizes; `npm run demo:parts -- --full` has them all. Exits with 0 only if all was as it should be.
 */
import { mkdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import type { Manifest } from "../src/wire/manifest.ts";
import { partPath } from "../src/wire/split-names.ts";
import { fileSha256 } from "./support/file-sha256.ts";
import { PartServers } from "./support/part-servers.ts";
import { SEED_SIZES, killPlan, killWhileFetching, partsOf } from "./support/parts-story.ts";
import { endStartedPrograms, runDray, startDray } from "./support/process.ts";
import type { Finished } from "./support/program.ts";
import { seededRandom } from "./support/random.ts";
import { tempFolder } from "./support/temp.ts";
import { makeLargeFile } from "./support/tree.ts";

const { values: flags } = parseArgs({
  options: { full: { type: "boolean", default: false }, seed: { type: "string", default: "1" } },
});
const MIB = 1024 * 1024;
const SIZES = SEED_SIZES.map((sizeBytes) => (flags.full ? sizeBytes : Math.floor(sizeBytes / 10)));
const TOTAL_BYTES = SIZES.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
const PART_SIZE = flags.full ? "64MiB" : "6MiB";
const COPIES = 5;
const PROCESSES = 25;
const INSTANCES = 2;
const TIMEOUT_MS = 600_000;
const IMPATIENT = ["--timeout", "1", "--patience", "3"];

const folder = tempFolder();
const startedMs = performance.now();
const checks: { what: string; isGood: boolean }[] = [];
let isInterrupted = false;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.on(signal, () => {
    isInterrupted = true;
    void cleanUp().finally(() => process.exit(code));
  });
}

try {
  await demonstrate();
} catch (error) {
  if (!isInterrupted) check(`the demo came to its end: ${String(error)}`, false);
} finally {
  await cleanUp();
}
if (!isInterrupted) summarize();

async function demonstrate(): Promise<void> {
  heading(
    `Making three files of ${SIZES.map((sizeBytes) => `${(sizeBytes / MIB).toFixed(0)} MiB`).join(", ")}`,
  );
  const files = SIZES.map((sizeBytes, index) => {
    const path = folder.join("local", `file-${index + 1}`);
    makeLargeFile(path, { seed: index + 1, sizeBytes });
    return path;
  });
  const sums = await Promise.all(files.map(fileSha256));

  heading(`Starting ${PROCESSES * INSTANCES} servers, ${INSTANCES} in each process`);
  const options = { processes: PROCESSES, instances: INSTANCES };
  await using servers = await PartServers.start(folder.join("servers"), options);
  const [first, last] = [servers.ports[0]!, servers.ports.at(-1)!];
  console.log(`127.0.0.1:${first} to 127.0.0.1:${last}, each with a directory of its own`);

  heading(`Splitting the files, ${COPIES} copies of each part`);
  const split = ["--copies", String(COPIES), "--part-size", PART_SIZE];
  const put = await tell(["put", ...files, "--to", servers.list, ...split], servers);
  check(`exit code 0 (was ${put.code})`, put.code === 0);
  const manifests = files.map((path) => servers.manifestOn(first, basename(path))!);
  const parts = partsOf(servers, manifests);
  const copies = servers.ports.map((port) => copiesOn(servers, manifests, port));
  console.log(
    `${parts.length} parts; a server has ${Math.min(...copies)} to ${Math.max(...copies)} copies of parts, and all manifests`,
  );

  heading("Fetching all three at once, and killing servers until each part has one living copy");
  const plan = killPlan(servers, manifests, seededRandom(Number(flags.seed)));
  await fetchWhileKilling(servers, plan, files, sums);

  heading("The last copy of one part dies as well");
  await withoutLastCopy(servers, plan, manifests, files[2]!, sums[2]!);

  heading("All servers come back, some copies are lost or damaged, and put --repair restores them");
  await repair(servers, plan, manifests[2]!, files[2]!);
}

async function fetchWhileKilling(
  servers: PartServers,
  plan: readonly number[],
  files: readonly string[],
  sums: readonly string[],
): Promise<void> {
  const directory = savedIn("first");
  const alive = servers.ports.find((port) => !plan.includes(servers.processOf(port)))!;
  const beganMs = performance.now();
  const fetches = files.map((path) => ({
    program: startDray(["fetch", "127.0.0.1", String(alive), basename(path), directory, "--json"]),
    path: `${directory}/${basename(path)}`,
  }));
  let killed = 0;
  const running = await killWhileFetching(servers, plan, fetches, TOTAL_BYTES, 0.8, (process) => {
    killed += INSTANCES;
    const who = servers.names(servers.portsOf(process)).join(" and ");
    console.log(`killed ${who} (${killed} of ${servers.ports.length} are dead)`);
  });
  check(`${running} of the three fetches ran when the last server was killed`, running > 0);
  for (const [index, { program, path }] of fetches.entries()) {
    const done = await program.finished({ timeoutMs: TIMEOUT_MS });
    check(`${basename(path)}: exit code 0 (was ${done.code})`, done.code === 0);
    check(`${basename(path)}: SHA-256 ${sums[index]}`, (await fileSha256(path)) === sums[index]);
    const { needed, wasted } = countsOf(done);
    check(
      `${basename(path)}: ${needed} bytes were fetched, none of them twice (${wasted} came and were not needed)`,
      needed === SIZES[index],
    );
  }
  const seconds = (performance.now() - beganMs) / 1000;
  console.log(`all three in ${seconds.toFixed(1)} s, ${(TOTAL_BYTES / MIB / seconds).toFixed(0)} MiB/s`);
  rmSync(directory, { recursive: true });
}

async function withoutLastCopy(
  servers: PartServers,
  plan: readonly number[],
  manifests: readonly Manifest[],
  file: string,
  sum: string,
): Promise<void> {
  const lonely = partsOf(servers, manifests)
    .map((part) => ({ ...part, living: part.holders.filter((holder) => !plan.includes(holder)) }))
    .filter((part) => part.file === 2 && part.living.length === 1);
  const victim = lonely[0]!.living[0]!;
  const missing = lonely.filter(({ living }) => living[0] === victim);
  await servers.kill(victim);
  console.log(`killed ${servers.names(servers.portsOf(victim)).join(" and ")}`);
  const directory = savedIn("second");
  const gone = [...plan, victim];
  const alive = servers.ports.find((port) => !gone.includes(servers.processOf(port)))!;
  const fetch = ["fetch", "127.0.0.1", String(alive), basename(file), directory, ...IMPATIENT];
  const failed = await tell([...fetch, "--json"], servers);
  console.log(failed.stderr.trimEnd());
  check(`exit code 3 or 7 (was ${failed.code})`, failed.code === 3 || failed.code === 7);
  await servers.startProcess(victim);
  console.log(`\n${servers.names(servers.portsOf(victim)).join(" and ")} are back`);
  const done = await tell([...fetch, "--json"], servers);
  check(`exit code 0 (was ${done.code})`, done.code === 0);
  const missingBytes = missing.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  const { needed, resumed } = countsOf(done);
  const which = missing.map(({ part }) => part).join(", ");
  check(`only part ${which} was fetched: ${needed} bytes, ${resumed} were there`, needed === missingBytes);
  check(`SHA-256 ${sum}`, (await fileSha256(`${directory}/${basename(file)}`)) === sum);
}

async function repair(
  servers: PartServers,
  plan: readonly number[],
  manifest: Manifest,
  file: string,
): Promise<void> {
  for (const process of plan) await servers.startProcess(process);
  const name = basename(file);
  const [one, two] = servers.holders(manifest, 0);
  rmSync(servers.pathOn(one!, partPath(name, manifest, 0)));
  rmSync(servers.pathOn(two!, partPath(name, manifest, 0)));
  const done = await tell(["put", "--repair", name, "--to", servers.list], servers);
  check(`exit code 0 (was ${done.code})`, done.code === 0);
  const holders = manifest.parts.map((_, part) => servers.holdersOnDisk(name, manifest, part).length);
  check(
    `each part has ${COPIES} copies again`,
    holders.every((count) => count === COPIES),
  );
}

function savedIn(name: string): string {
  const directory = folder.join(name);
  mkdirSync(directory);
  return directory;
}

function copiesOn(servers: PartServers, manifests: readonly Manifest[], port: number): number {
  const counts = manifests.map(
    (manifest) => manifest.parts.filter((_, part) => servers.holders(manifest, part).includes(port)).length,
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

function countsOf({ events }: Finished): { needed: number; wasted: number; resumed: number } {
  const last = events.at(-1);
  const numberOf = (key: string): number => (last?.[key] as number | undefined) ?? 0;
  const wasted = numberOf("bytesWasted");
  return { needed: numberOf("bytesTransferred") - wasted, wasted, resumed: numberOf("bytesResumed") };
}

/** Runs a command and shows it, the long list of servers cut short, with what it prints for people. */
async function tell(args: string[], servers: PartServers): Promise<Finished> {
  console.log(`$ dray ${args.join(" ").replace(servers.list, `${servers.names()[0]},…`)}`);
  const done = await runDray(args, { timeoutMs: TIMEOUT_MS });
  if (!args.includes("--json")) console.log(shortened(done.stdout));
  return done;
}

function shortened(text: string): string {
  const lines = text.trimEnd().split("\n");
  if (lines.length <= 12) return lines.join("\n");
  return [...lines.slice(0, 6), `… ${lines.length - 8} more lines`, ...lines.slice(-2)].join("\n");
}

async function cleanUp(): Promise<void> {
  await endStartedPrograms();
  folder[Symbol.dispose]();
}

function summarize(): void {
  const bad = checks.filter(({ isGood }) => !isGood);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  heading(bad.length === 0 ? "All is as it should be" : `${bad.length} of ${checks.length} checks failed`);
  for (const { what } of bad) console.log(`FAILED  ${what}`);
  console.log(`${checks.length} checks, ${seconds} s in all; everything is stopped and removed`);
  process.exitCode = bad.length === 0 ? 0 : 1;
}

function check(what: string, isGood: boolean): void {
  if (isInterrupted) throw new Error("interrupted");
  checks.push({ what, isGood });
  console.log(`${isGood ? "ok    " : "FAILED"}  ${what}`);
}

function heading(text: string): void {
  console.log(`\n=== ${text}`);
}
