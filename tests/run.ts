/**
 * `npm test`: the checks, the build, and every test, stage after stage. The last line counts all
 * tests; the exit code is 0 only if nothing at all failed.
 */
const root = `${import.meta.dir}/..`;

interface Stage {
  folders: string[];
  /** How long one test may take, unless it says otherwise. */
  testTimeoutMs: number;
  /** After this the stage is ended and has failed. */
  stageTimeoutMs: number;
}

const MINUTE_MS = 60_000;
const STAGES: Stage[] = [
  { folders: ["tests/unit", "tests/property"], testTimeoutMs: MINUTE_MS, stageTimeoutMs: 5 * MINUTE_MS },
  { folders: ["tests/end-to-end"], testTimeoutMs: 2 * MINUTE_MS, stageTimeoutMs: 10 * MINUTE_MS },
  { folders: ["tests/faults"], testTimeoutMs: 2 * MINUTE_MS, stageTimeoutMs: 14 * MINUTE_MS },
  { folders: ["tests/simulation"], testTimeoutMs: 2 * MINUTE_MS, stageTimeoutMs: 10 * MINUTE_MS },
];

const total = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];

heading("checks");
if (!(await runs("tests/check.ts"))) failures.push("checks");

heading("build");
const isBuilt = await runs("build.ts", "--quiet");
if (!isBuilt) failures.push("build");

for (const stage of STAGES) {
  const folders = stage.folders.filter(holdsTests);
  if (folders.length === 0) continue;
  const name = folders.join(", ");
  heading(name);
  if (!isBuilt && stage !== STAGES[0]) {
    failures.push(`${name} (not run: there is no fresh executable)`);
  } else if (!(await runStage(stage, folders))) {
    failures.push(name);
  }
}

console.log();
for (const failure of failures) console.log(`FAILED: ${failure}`);
const skipped = total.skipped === 0 ? "" : `, ${total.skipped} skipped`;
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function runStage({ testTimeoutMs, stageTimeoutMs }: Stage, folders: string[]): Promise<boolean> {
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      // Nothing that one file leaves behind reaches the next, and no process outlives the stage.
      "--isolate",
      "--no-orphans",
      `--timeout=${testTimeoutMs}`,
      ...folders.map((folder) => `./${folder}`),
    ],
    {
      cwd: root,
      stdin: "ignore",
      stdout: "inherit",
      stderr: "pipe",
      timeout: stageTimeoutMs,
      env: { ...process.env, ...(process.stderr.isTTY ? { FORCE_COLOR: "1" } : {}) },
    },
  );
  let tail = "";
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    process.stderr.write(text);
    tail = (tail + text).slice(-4096);
  }
  const code = await child.exited;
  const isCounted = count(Bun.stripANSI(tail));
  if (!isCounted) {
    total.failed++;
    console.log(`The tests of ${folders.join(", ")} did not come to their end (exit code ${code})`);
  }
  return code === 0 && isCounted;
}

/** Adds up the closing paragraph of `bun test`; false if there is none. */
function count(output: string): boolean {
  const paragraph = /(?:^|\n)\n((?: \d+ .*\n)+)Ran \d+ tests? across .*\s*$/.exec(output)?.[1];
  if (paragraph === undefined) return false;
  const counted = (label: string): number =>
    Number(new RegExp(`^ (\\d+) ${label}$`, "m").exec(paragraph)?.[1] ?? 0);
  total.passed += counted("pass");
  total.failed += counted("fail");
  total.skipped += counted("skip") + counted("todo");
  return true;
}

async function runs(script: string, ...args: string[]): Promise<boolean> {
  const child = Bun.spawn([process.execPath, script, ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return (await child.exited) === 0;
}

function holdsTests(folder: string): boolean {
  return !new Bun.Glob(`${folder}/**/*.test.ts`).scanSync({ cwd: root }).next().done;
}

function heading(text: string): void {
  console.log(`\n=== ${text}`);
}
