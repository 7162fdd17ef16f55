/** Every check that needs no test run, side by side: format, lint, types, unused code. */
const CHECKS: Record<string, string[]> = {
  prettier: ["prettier", "--check", "--log-level", "warn", "."],
  oxlint: ["oxlint"],
  tsc: ["tsc", "-p", "."],
  knip: ["knip"],
};

const root = `${import.meta.dir}/..`;

async function runCheck(name: string, [program = "", ...args]: string[]): Promise<boolean> {
  const startedAt = performance.now();
  const child = Bun.spawn([`${root}/node_modules/.bin/${program}`, ...args], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${code === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (code !== 0) console.log(`${stdout}${stderr}`.trimEnd());
  return code === 0;
}

const results = await Promise.all(Object.entries(CHECKS).map(([name, command]) => runCheck(name, command)));
process.exitCode = results.every(Boolean) ? 0 : 1;
