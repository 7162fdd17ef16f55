/**
 * Compiles src/main.ts and everything it needs into one executable.
 *
 *   bun build.ts            dist/dray, for this machine
 *   bun build.ts --all      dist/dray-<platform> for every platform, and dist/SHA256SUMS
 *   bun build.ts --quiet    only speaks of failures
 *
 * DRAY_COMMIT names the commit where there is no git.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "./package.json" with { type: "json" };

const TARGETS: Readonly<Record<string, Bun.Build.CompileTarget>> = {
  "dray-linux-x64": "bun-linux-x64",
  "dray-linux-x64-musl": "bun-linux-x64-musl",
  "dray-linux-arm64": "bun-linux-arm64",
  "dray-linux-arm64-musl": "bun-linux-arm64-musl",
  "dray-darwin-x64": "bun-darwin-x64",
  "dray-darwin-arm64": "bun-darwin-arm64",
  "dray-windows-x64.exe": "bun-windows-x64",
};

/** This machine's; on Windows none of them. */
const OWN_TARGET = `bun-${process.platform}-${process.arch}`;

const ROOT = import.meta.dir;
const DIST = join(ROOT, "dist");

/** src/main.ts, and beside it the entry of the pool threads: a worker in a subfolder is not found. */
const ENTRY_POINTS = ["src/main.ts", "src/thread.ts"].filter((path) => existsSync(join(ROOT, path)));

const { values: flags } = parseArgs({
  options: { all: { type: "boolean", default: false }, quiet: { type: "boolean", default: false } },
});
const commit = process.env["DRAY_COMMIT"] ?? commitFromGit() ?? "unknown";

if (flags.all) {
  const sums: string[] = [];
  for (const [name, target] of Object.entries(TARGETS)) {
    await compile(name, target);
    sums.push(`${sha256(await readFile(join(DIST, name)))}  ${name}\n`);
  }
  await writeFile(join(DIST, "SHA256SUMS"), sums.join(""));
  say("dist/SHA256SUMS");
} else {
  await compileUnlessFresh("dray");
}

/** Compiling takes a second, hashing the inputs milliseconds: tests, demo and bench all build first. */
async function compileUnlessFresh(name: string): Promise<void> {
  const stamp = join(DIST, `.${name}.inputs`);
  const inputs = await hashInputs();
  if (existsSync(join(DIST, name)) && existsSync(stamp) && (await readFile(stamp, "utf8")) === inputs) {
    say(`dist/${name} is up to date`);
    return;
  }
  await compile(name);
  await writeFile(stamp, inputs);
}

async function compile(name: string, target?: Bun.Build.CompileTarget): Promise<void> {
  // In a folder of its own until it is whole: the program may be running, or another build.
  const workshop = join(DIST, `.build-${process.pid}`);
  await mkdir(workshop, { recursive: true });
  try {
    await Bun.build({
      entrypoints: ENTRY_POINTS.map((path) => join(ROOT, path)),
      target: "bun",
      format: "esm",
      minify: true,
      // Each command loads only its own code, and that parsed already: half the time to start. Not for other
      // systems: there bytecode is said to be portable, and has crashed (Bun issue 18416).
      splitting: true,
      bytecode: target === undefined || target === OWN_TARGET,
      define: { DRAY_VERSION: JSON.stringify(packageJson.version), DRAY_COMMIT: JSON.stringify(commit) },
      compile: {
        ...(target === undefined ? {} : { target }),
        outfile: join(workshop, name),
        // Files that happen to lie in the current directory must not change what dray does.
        autoloadDotenv: false,
        autoloadBunfig: false,
        autoloadTsconfig: false,
        autoloadPackageJson: false,
      },
    });
    await rename(join(workshop, name), join(DIST, name));
  } finally {
    await rm(workshop, { recursive: true, force: true });
  }
  say(`dist/${name} ${packageJson.version} (commit ${commit})`);
}

/** One hash over everything that goes into dist/dray. */
async function hashInputs(): Promise<string> {
  const files = [...new Bun.Glob("src/**").scanSync({ cwd: ROOT })].sort();
  const hash = createHash("sha256").update(
    `${Bun.version_with_sha} ${process.platform} ${process.arch} ${commit}\n`,
  );
  for (const path of ["build.ts", "package.json", "package-lock.json", "tsconfig.json", ...files]) {
    hash.update(`${path} ${sha256(await readFile(join(ROOT, path)))}\n`);
  }
  return hash.digest("hex");
}

/** The commit, with `-dirty` when the tree holds anything else than that; undefined outside of a checkout. */
function commitFromGit(): string | undefined {
  if (!existsSync(join(ROOT, ".git"))) return undefined;
  const head = git("rev-parse", "--short=12", "HEAD");
  const changes = git("status", "--porcelain");
  return head === undefined || changes === undefined ? undefined : head + (changes === "" ? "" : "-dirty");
}

function git(...args: string[]): string | undefined {
  if (Bun.which("git") === null) return undefined;
  const { success, stdout } = Bun.spawnSync(["git", "-C", ROOT, ...args], { stderr: "ignore" });
  return success ? stdout.toString().trim() : undefined;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function say(line: string): void {
  if (!flags.quiet) console.log(line);
}
