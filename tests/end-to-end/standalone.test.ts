import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { drayBinary } from "../support/binary.ts";
import { diffTrees } from "../support/diff.ts";
import { startProgram } from "../support/process.ts";
import type { Finished, Program } from "../support/program.ts";
import { tempFolder, type TempFolder } from "../support/temp.ts";
import { makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const REPOSITORY = resolve(import.meta.dir, "../..");

/** A command that runs another one where an empty directory hides this repository. */
const HIDE = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh"];

const canHide = ((): boolean => {
  using empty = tempFolder();
  const [command, ...args] = [...HIDE, empty.path, REPOSITORY, "test", "!", "-e", join(REPOSITORY, "src")];
  return spawnSync(command, args).status === 0;
})();

/** The executable alone, in a directory with everything that a JavaScript runtime might read on its own. */
class Elsewhere implements Disposable {
  readonly folder: TempFolder = tempFolder();
  readonly directory = this.folder.join("elsewhere");
  readonly evidence = this.folder.join("evidence");
  readonly #hide: string[];

  constructor(isHidden: boolean) {
    for (const path of ["elsewhere", "empty"]) mkdirSync(this.folder.join(path));
    this.#hide = isHidden ? [...HIDE, this.folder.join("empty"), REPOSITORY] : [];
    copyFileSync(drayBinary(), join(this.directory, "dray"));
    chmodSync(join(this.directory, "dray"), 0o755);
    const evil = `require("node:fs").writeFileSync(${JSON.stringify(this.evidence)}, "ran"); process.exit(99);`;
    const traps: Record<string, string> = {
      ".env": `DRAY_PORT=1\nDRAY_BIND=192.0.2.1\nDRAY_WORKERS=nonsense\nDRAY_JSON=nonsense\nBUN_OPTIONS=--preload=./evil.ts\nNODE_OPTIONS=--require=./evil.ts\n`,
      ".env.local": "DRAY_LOG_LEVEL=nonsense\n",
      ".env.production": "DRAY_LOG_LEVEL=nonsense\n",
      "bunfig.toml": 'preload = ["./evil.ts"]\n[run]\nbun = true\nsmol = true\n',
      "evil.ts": evil,
      "package.json": '{ "main": "./evil.ts", "imports": { "#x": "./evil.ts" }, "type": "nonsense" }',
      "tsconfig.json": '{ "compilerOptions": { "paths": { "*": ["./evil.ts"] } } }',
      "thread.js": evil,
      "thread.ts": evil,
      "main.ts": evil,
    };
    for (const [name, text] of Object.entries(traps)) writeFileSync(join(this.directory, name), text);
  }

  /** Without any environment: no HOME, no PATH. */
  start(...args: string[]): Program {
    return startProgram([...this.#hide, "env", "-i", "./dray", ...args], { cwd: this.directory });
  }

  async run(...args: string[]): Promise<Finished> {
    await using program = this.start(...args);
    return await program.finished({ timeoutMs: 60_000 });
  }

  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
  }
}

describe.each([
  { what: "with the source tree hidden (skipped where that is not permitted)", isHidden: true },
  { what: "in another directory", isHidden: false },
])("the executable alone, without any environment, $what", ({ isHidden }) => {
  test.skipIf(isHidden && !canHide)("mirrors, with its pool threads", async () => {
    using elsewhere = new Elsewhere(isHidden);
    makeManyFiles(elsewhere.folder.join("data"), {
      seed: 1,
      count: 300,
      directories: 5,
      minBytes: 0,
      maxBytes: 50_000,
    });
    await using content = elsewhere.start(
      "content",
      "-p",
      "0",
      "-d",
      elsewhere.folder.join("data"),
      "--json",
    );
    await using mirror = elsewhere.start(
      "mirror",
      "-p",
      "0",
      "-m",
      "../mirror",
      "-w",
      "4",
      "--threads",
      "2",
      "--json",
    );
    const { address, port } = await content.listening();
    expect(address).toBe("127.0.0.1");
    const source = `127.0.0.1:${port}:.:0`;
    const to = ["-m", "127.0.0.1", "-p", String((await mirror.listening()).port)];

    const order = await elsewhere.run("initiate", ...to, "-s", source, "--json");
    expect(order.stderr).toBe("");
    expect(order.code).toBe(0);
    expect(order.events.at(-1)).toMatchObject({ type: "result", files: 300 });
    const tree = elsewhere.folder.join("mirror", `127.0.0.1_${port}`);
    expect(await diffTrees(elsewhere.folder.join("data"), tree)).toEqual([]);
    expect(existsSync(elsewhere.evidence)).toBe(false);
    for (const server of [content, mirror]) expect((await server.stop()).code).toBe(0);
  });
});

test("--version carries version and commit, and takes nothing from where it is run", async () => {
  using elsewhere = new Elsewhere(false);
  const { code, stdout } = await elsewhere.run("--version");
  expect(code).toBe(0);
  const { version } = (await Bun.file(join(REPOSITORY, "package.json")).json()) as { version: string };
  const pattern = new RegExp(
    `^dray ${version.replaceAll(".", "\\.")} \\(commit ([0-9a-f]{7,40}(-dirty)?|unknown)\\)\n$`,
  );
  expect(stdout).toMatch(pattern);
  const commit = process.env["DRAY_COMMIT"];
  if (existsSync(join(REPOSITORY, ".git")) && commit === undefined) expect(stdout).not.toContain("unknown");
  expect(existsSync(elsewhere.evidence)).toBe(false);
});
