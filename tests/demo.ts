/**
 * `npm run demo`: the main job on this machine, before your eyes. Three content servers over real
 * trees, a fourth source that is dead, one mirror, and an order given twice; then every byte is
 * compared. Exits with 0 only if all was as it should be.
 */
import { lstatSync, readdirSync, statfsSync } from "node:fs";
import { drayBinary } from "./support/binary.ts";
import { diffTrees } from "./support/diff.ts";
import { fileSha256 } from "./support/file-sha256.ts";
import { freePort } from "./support/free-port.ts";
import { endStartedPrograms, startDray } from "./support/process.ts";
import type { Program } from "./support/program.ts";
import { tempFolder } from "./support/temp.ts";
import { makeLargeFile, makeManyFiles, makeOddTree } from "./support/tree.ts";

const MIB = 1024 * 1024;
const WORKERS = 8;
const DELAYED_FILES = 40;
const DELAY_SECONDS = 0.5;
const PARTIAL = 3;

const folder = tempFolder();
const startedMs = performance.now();
const checks: { what: string; isGood: boolean }[] = [];
let initiator: Bun.Subprocess | undefined;
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
  heading("Making three trees of files");
  const trees = makeTrees();

  heading("Starting three content servers and a mirror");
  const mirrorDirectory = folder.join("mirror");
  const servers = trees.map((tree) => startDray(["content", "-p", "0", "-d", tree.path, "--json"]));
  const mirror = startDray(["mirror", "-p", "0", "-m", mirrorDirectory, "-w", String(WORKERS), "--json"]);
  const ports = await Promise.all(servers.map(async (server) => (await server.listening()).port));
  const { port } = await mirror.listening();
  const deadPort = await freePort();
  for (const [index, tree] of trees.entries()) console.log(`127.0.0.1:${ports[index]} serves ${tree.what}`);
  console.log(`127.0.0.1:${deadPort} is where the fourth source should be, but nobody listens there`);
  console.log(`127.0.0.1:${port} is the mirror, with ${WORKERS} workers`);

  const sources = trees.map((tree, index) => `127.0.0.1:${ports[index]}:.:${tree.delaySeconds}`);
  const order = ["initiate", "-m", "127.0.0.1", "-p", String(port)];
  order.push("-s", [...sources, `127.0.0.1:${deadPort}:.:0`].join(","));

  heading("The order");
  console.log(
    `One source is dead, so the exit code must be ${PARTIAL} (partial), and all the rest must be there.`,
  );
  console.log(`One after the other, the delays alone would take ${DELAYED_FILES * DELAY_SECONDS} s.\n`);
  const exitCode = await initiate(order);
  check(
    `exit code ${PARTIAL}, "partial": one of the four sources is dead (was ${exitCode})`,
    exitCode === PARTIAL,
  );

  heading("Comparing every byte");
  for (const [index, tree] of trees.entries()) {
    const copy = `${mirrorDirectory}/127.0.0.1_${ports[index]}`;
    await compare(tree, copy);
  }
  const expected = [".dray", ...ports.map((source) => `127.0.0.1_${source}`)].sort();
  const found = readdirSync(mirrorDirectory).sort();
  check("the mirror holds these trees and nothing else", found.join() === expected.join());

  heading("The same order again");
  const before = identities(mirrorDirectory);
  const secondExitCode = await initiate(order);
  check(`exit code ${PARTIAL} again (was ${secondExitCode})`, secondExitCode === PARTIAL);
  const after = identities(mirrorDirectory);
  check(
    `not one of the ${before.size} files was written anew`,
    [...before].every(([path, identity]) => after.get(path) === identity) && before.size === after.size,
  );

  heading("Stopping everything");
  for (const program of [mirror, ...servers]) await stop(program);
}

interface Tree {
  path: string;
  what: string;
  delaySeconds: number;
  largeFiles: string[];
}

function makeTrees(): Tree[] {
  const small = folder.join("small");
  const smallBytes = makeManyFiles(small, {
    ...{ seed: 1, count: 3000, directories: 60 },
    ...{ minBytes: 0, maxBytes: 64 * 1024 },
  });
  const large = folder.join("large-and-odd");
  makeOddTree(large, { seed: 2 });
  const { bavail, bsize } = statfsSync(folder.path);
  const largeMib = bavail * bsize > 4096 * MIB ? 300 : 50;
  const largeFiles = ["one.bin", "two.bin"];
  for (const [index, name] of largeFiles.entries()) {
    makeLargeFile(`${large}/${name}`, { seed: 10 + index, sizeBytes: largeMib * MIB + index });
  }
  const slow = folder.join("slow");
  const many = { seed: 3, count: DELAYED_FILES, directories: 1, minBytes: 1000, maxBytes: 100_000 };
  makeManyFiles(slow, many);
  return [
    { path: small, what: `3,000 small files (${mib(smallBytes)} MiB)`, delaySeconds: 0, largeFiles: [] },
    { path: large, what: `two files of ${largeMib} MiB, and odd names`, delaySeconds: 0, largeFiles },
    {
      path: slow,
      what: `${DELAYED_FILES} files, each after a delay of ${DELAY_SECONDS} s`,
      delaySeconds: DELAY_SECONDS,
      largeFiles: [],
    },
  ];
}

/** Runs with this terminal, so that its bars and its report are seen as they are. */
async function initiate(args: string[]): Promise<number> {
  console.log(`$ dray ${args.join(" ")}\n`);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("DRAY_")));
  initiator = Bun.spawn([drayBinary(), ...args], { stdio: ["ignore", "inherit", "inherit"], env });
  return await initiator.exited;
}

async function compare(tree: Tree, copy: string): Promise<void> {
  const differences = await diffTrees(tree.path, copy);
  check(`diff -r, times and executable bits: ${tree.what}`, differences.length === 0);
  for (const line of differences.slice(0, 10)) console.log(`  ${line}`);
  for (const name of tree.largeFiles) {
    const [wanted, got] = await Promise.all([
      fileSha256(`${tree.path}/${name}`),
      fileSha256(`${copy}/${name}`),
    ]);
    check(`SHA-256 of ${name}: ${got}`, wanted === got);
  }
}

/** What changes whenever a file is replaced or touched, by path. */
function identities(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = `${directory}/${entry.name}`;
      if (entry.name === ".dray") continue;
      if (entry.isDirectory()) visit(path);
      else {
        const { ino, ctimeNs } = lstatSync(path, { bigint: true });
        found.set(path, `${ino} ${ctimeNs}`);
      }
    }
  };
  visit(root);
  return found;
}

async function stop(program: Program): Promise<void> {
  const { code } = await program.stop();
  check(`process ${program.pid} ended with 0 after SIGTERM (was ${code})`, code === 0);
}

async function cleanUp(): Promise<void> {
  if (initiator?.exitCode === null) initiator.kill("SIGKILL");
  await initiator?.exited;
  await endStartedPrograms();
  folder[Symbol.dispose]();
}

function summarize(): void {
  const bad = checks.filter(({ isGood }) => !isGood);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  heading(bad.length === 0 ? "All is as it should be" : `${bad.length} of ${checks.length} checks failed`);
  for (const { what } of bad) console.log(`FAILED  ${what}`);
  console.log(`${checks.length} checks, ${seconds} s; everything is stopped and ${folder.path} is removed`);
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

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
