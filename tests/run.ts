/**
 * `npm test`: the checks, the build, and every test, stage after stage. The last line counts all
 * tests; the exit code is 0 only if nothing at all failed.
 */
const root = `${import.meta.dir}/..`;

interface Stage {
  folders: string[];
  /** So many files at the same time, each in a process of its own; 1: all in one process. */
  parallel: number;
  /** How long one test may take, unless it says otherwise. */
  testTimeoutMs: number;
  /** After this the stage is ended and has failed. */
  stageTimeoutMs: number;
}

const MINUTE_MS = 60_000;
const STAGES: Stage[] = [
  {
    folders: ["tests/unit", "tests/property"],
    parallel: 1,
    testTimeoutMs: MINUTE_MS,
    stageTimeoutMs: 5 * MINUTE_MS,
  },
  // Most of these wait for other processes, or for their time limits.
  {
    folders: ["tests/end-to-end"],
    parallel: 3,
    testTimeoutMs: 2 * MINUTE_MS,
    stageTimeoutMs: 10 * MINUTE_MS,
  },
  { folders: ["tests/faults"], parallel: 3, testTimeoutMs: 3 * MINUTE_MS, stageTimeoutMs: 14 * MINUTE_MS },
  {
    folders: ["tests/simulation"],
    parallel: 1,
    testTimeoutMs: 2 * MINUTE_MS,
    stageTimeoutMs: 10 * MINUTE_MS,
  },
];
/** The longest ones, to be begun first: the stage ends when its last file does. */
const LONG = ["floods", "hostile-transfers", "stalls", "mirror-full-disk", "mirror-kill"];

/** What a failed test said before its name is repeated at the end, its last lines. */
const REPEATED_LINES = 12;

const total = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
/** The failed tests with what they said: among thousands of lines nobody finds them. */
const failedTests: string[] = [];

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

for (const test of failedTests) console.log(`\n${test}`);
console.log();
for (const failure of failures) console.log(`FAILED: ${failure}`);
const skipped = total.skipped === 0 ? "" : `, ${total.skipped} skipped`;
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = failures.length === 0 ? 0 : 1;

async function runStage(stage: Stage, folders: string[]): Promise<boolean> {
  const deadlineMs = performance.now() + stage.stageTimeoutMs;
  if (stage.parallel === 1) {
    return runTests(
      stage,
      deadlineMs,
      folders.map((folder) => `./${folder}`),
      process.stderr,
    );
  }
  const files = folders.flatMap((folder) => [
    ...new Bun.Glob(`${folder}/**/*.test.ts`).scanSync({ cwd: root }),
  ]);
  const rank = (file: string): number => {
    const index = LONG.findIndex((name) => file.includes(`/${name}.`));
    return index < 0 ? LONG.length : index;
  };
  files.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  let isGood = true;
  const worker = async (): Promise<void> => {
    for (let file = files.shift(); file !== undefined; file = files.shift()) {
      // What files say at the same time is printed one after the other.
      const output: string[] = [];
      if (!(await runTests(stage, deadlineMs, [`./${file}`], { write: (text) => output.push(text) })))
        isGood = false;
      process.stderr.write(output.join(""));
    }
  };
  await Promise.all(Array.from({ length: stage.parallel }, worker));
  return isGood;
}

async function runTests(
  { testTimeoutMs }: Stage,
  deadlineMs: number,
  paths: string[],
  output: { write(text: string): unknown },
): Promise<boolean> {
  const child = Bun.spawn(
    [
      process.execPath,
      "test",
      // Nothing that one file leaves behind reaches the next, and no process outlives its tests.
      "--isolate",
      "--no-orphans",
      `--timeout=${testTimeoutMs}`,
      ...paths,
    ],
    {
      cwd: root,
      stdin: "ignore",
      stdout: "inherit",
      stderr: "pipe",
      timeout: Math.max(1, Math.ceil(deadlineMs - performance.now())),
      env: { ...process.env, ...(process.stderr.isTTY ? { FORCE_COLOR: "1" } : {}) },
    },
  );
  let tail = "";
  let line = "";
  let said: string[] = [];
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    output.write(text);
    tail = (tail + text).slice(-4096);
    const lines = (line + text).split("\n");
    line = lines.pop() ?? "";
    for (const each of lines.map(Bun.stripANSI)) {
      if (/^\(fail\) |^✗ /.test(each)) failedTests.push([...said.slice(-REPEATED_LINES), each].join("\n"));
      said = /^\((pass|fail|skip|todo)\) |^[✓✗»] /.test(each)
        ? []
        : [...said.slice(1 - REPEATED_LINES), each];
    }
  }
  const code = await child.exited;
  const isCounted = count(Bun.stripANSI(tail));
  if (!isCounted) {
    total.failed++;
    failedTests.push(`The tests of ${paths.join(", ")} did not come to their end (exit code ${code})`);
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
