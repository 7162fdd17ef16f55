import { expect, test } from "bun:test";
import { copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { drayBinary } from "../support/binary.ts";
import { runDray, startDray, startProgram } from "../support/process.ts";
import { tempFolder } from "../support/temp.ts";

const SRC = join(import.meta.dir, "../../src");
const COMMANDS = ["content", "mirror", "initiate"];

test("--help lists the commands", async () => {
  for (const args of [["--help"], ["-h"], ["help"]]) {
    const { code, stdout, stderr } = await runDray(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} +\\w`, "m"));
  }
});

test("--version carries version and commit", async () => {
  const { code, stdout } = await runDray(["--version"]);
  expect(code).toBe(0);
  const commit = /^dray (\S+) \(commit ([0-9a-f]{7,40}(?:-dirty)?|unknown)\)\n$/.exec(stdout);
  expect(commit?.[1]).toBe(packageJson.version);
});

test("without a command, the usage goes to stderr and the exit code is 2", async () => {
  const { code, stdout, stderr } = await runDray([]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain("dray COMMAND [OPTIONS]");
});

test.each([
  [["miror"], "dray: miror: unknown command (did you mean mirror?)"],
  [["constructor"], "dray: constructor: unknown command"],
  [["--versoin"], "dray: --versoin: unknown flag (did you mean --version?)"],
  [["--", "mirror"], "dray: --: unknown flag"],
  [["x\u001b[31m\n"], String.raw`dray: x\x1b[31m\n: unknown command`],
])("%j is refused", async (args, line) => {
  const { code, stdout, stderr } = await runDray(args);
  expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: "", stderr: `${line}\nTry 'dray --help'.\n` });
});

test.each(COMMANDS)("%s explains itself, and refuses to run without what it needs", async (command) => {
  const help = await runDray([command, "--help"]);
  expect({ code: help.code, stderr: help.stderr }).toEqual({ code: 0, stderr: "" });
  expect(help.stdout).toContain(`Usage:\n  dray ${command} -`);
  expect((await runDray(["help", command])).stdout).toBe(help.stdout);

  const { code, stdout, stderr } = await runDray([command]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  // What an initiator is to do comes from one of several options: it is asked for when the rest is right.
  const isInitiate = command === "initiate";
  const head = isInitiate ? `dray ${command}: ` : `dray ${command}: 2 problems\n  `;
  expect(stderr).toStartWith(`${head}--port: is required`);
  if (isInitiate) {
    const asked = await runDray([command, "-p", "1"]);
    expect(asked.code).toBe(2);
    expect(asked.stderr).toStartWith(`dray ${command}: --sources: required`);
  }
  expect(stderr).toEndWith(`\nTry 'dray ${command} --help'.\n`);
});

test("wrong options are listed on stderr, and end the JSON Lines", async () => {
  const { code, stderr, events } = await runDray(["mirror", "-p", "x", "-m", "/tmp", "-w", "300", "--json"]);
  expect(code).toBe(2);
  expect(stderr).toBe(
    [
      "dray mirror: 2 problems",
      '  --port: expected a whole number from 0 to 65535, got "x"',
      "  --workers: expected a whole number from 1 to 256, got 300",
      "Try 'dray mirror --help'.",
      "",
    ].join("\n"),
  );
  expect(events).toEqual([{ type: "error", code: "usage", message: expect.stringContaining("--workers: ") }]);
});

test("options come from stdin, variables and flags; --print-config shows what counts", async () => {
  const stdin = JSON.stringify({ port: 1, mirrorDirectory: "m", workers: 2, queueSize: 100 });
  const env = { DRAY_MIRROR_WORKERS: "3", DRAY_MIRROR_DIGEST: "sha256" };
  const args = ["mirror", "--config", "-", "-w", "4", "--print-config"];
  const { code, stdout, stderr } = await runDray(args, { stdin, env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ port: 1, workers: 4, queueSize: 100, digest: "sha256" });
  const again = await runDray(["mirror", "--config", "-", "--print-config"], { stdin: stdout });
  expect(again.stdout).toBe(stdout);
});

test("--schema prints a JSON Schema", async () => {
  const { code, stdout } = await runDray(["initiate", "--schema"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ type: "object", properties: { sources: {} } });
});

test("files that lie in the current directory change nothing", async () => {
  using folder = tempFolder();
  writeFileSync(folder.join(".env"), "DRAY_CONTENT_PORT=1\nDRAY_CONTENT_WRONG=1\n");
  writeFileSync(folder.join("bunfig.toml"), 'preload = ["./preload.ts"]\n');
  writeFileSync(folder.join("preload.ts"), 'console.log("preloaded");\n');
  writeFileSync(folder.join("package.json"), "not JSON");
  writeFileSync(folder.join("tsconfig.json"), "not JSON");
  const { code, stdout, stderr } = await runDray(["content", "-d", "."], { cwd: folder.path });
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toStartWith("dray content: --port: is required");
});

test("the executable is complete in itself, and holds no path of the machine that built it", async () => {
  using folder = tempFolder();
  const copy = folder.join("renamed");
  copyFileSync(drayBinary(), copy);
  await using program = startProgram([copy, "mirror", "--help"], {
    cwd: folder.path,
    env: { PATH: undefined },
  });
  const { code, stdout } = await program.finished();
  expect(code).toBe(0);
  expect(stdout).toContain("dray mirror -p PORT -m DIR -w WORKERS");
  const bytes = Buffer.from(await Bun.file(copy).arrayBuffer());
  expect(bytes.includes(join(SRC, ".."))).toBe(false);
});

test("a reader that goes away is no failure", async () => {
  const line = `{ "${drayBinary()}" mirror --help; echo "exit code $?" >&2; } | true`;
  await using shell = startProgram(["sh", "-c", line]);
  expect((await shell.finished()).stderr).toBe("exit code 0\n");
});

test.skipIf(!existsSync("/dev/full"))("output that cannot be written is a failure", async () => {
  for (const args of ["--help", "mirror --schema"]) {
    await using shell = startProgram(["sh", "-c", `"${drayBinary()}" ${args} > /dev/full`]);
    const { code, stderr } = await shell.finished();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^dray[ a-z]*: Cannot write to stdout: no space left on the device.*\n$/);
  }
});

test("a client that is interrupted says so with its exit code", async () => {
  for (const [signal, exitCode] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const connected = Promise.withResolvers<void>();
    // A mirror that takes the call and never says a word.
    using listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: () => connected.resolve(), data() {} },
    });
    await using initiate = startDray(["initiate", "-p", String(listener.port), "-s", "a:1:x:0", "--json"]);
    await connected.promise;
    const { code } = await initiate.stop(signal);
    expect(code).toBe(exitCode);
    listener.stop(true);
  }
});

/** A program that uses the shell's parts directly, to bring them where the commands seldom get. */
function script(source: string): string[] {
  return [process.execPath, "-e", source.replaceAll("SRC", SRC)];
}

const STUBBORN_SERVER = `
  import { onShutdown } from "SRC/commands/shutdown.ts";
  const exit = onShutdown(GRACE, () => { console.log("stopping"); return new Promise(() => {}); });
  setInterval(() => {}, 1000);
  console.log("ready");
  process.exit(await exit);
`;

test("a server that is told twice ends at once", async () => {
  for (const [second, exitCode] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    await using server = startProgram(script(STUBBORN_SERVER.replace("GRACE", "3600000")));
    await server.stdoutMatch(/ready/);
    server.kill("SIGTERM");
    await server.stdoutMatch(/stopping/);
    expect((await server.stop(second)).code).toBe(exitCode);
  }
});

test("a server whose grace is over ends with exit code 0", async () => {
  await using server = startProgram(script(STUBBORN_SERVER.replace("GRACE", "50")));
  await server.stdoutMatch(/ready/);
  expect((await server.stop("SIGINT")).code).toBe(0);
});

test("a fault inside a command is one line, and its stack only with --verbose", async () => {
  const source = `
    import { defineDrayCommand } from "SRC/commands/command.ts";
    import { runShell } from "SRC/commands/shell.ts";
    import { mirrorTable } from "SRC/options/mirror-options.ts";
    const faulty = defineDrayCommand({
      table: mirrorTable,
      run: () => { queueMicrotask(() => { throw new TypeError("nobody\\ncaught this"); }); return new Promise(() => {}); },
    });
    const load = async () => faulty;
    process.exit(await runShell({ mirror: { summary: "", load } }, ["mirror", "-p", "0", "-m", "m", ...EXTRA]));
  `;
  await using plain = startProgram([...script(source.replace("EXTRA", `["--json"]`)), "--json"]);
  const told = await plain.finished();
  expect(told).toMatchObject({
    code: 1,
    stderr: "dray mirror: nobody\\ncaught this (a fault in dray; --verbose shows where)\n",
    events: [{ type: "error", code: "internal", message: "nobody\ncaught this" }],
  });
  await using verbose = startProgram(script(source.replace("EXTRA", `["-v"]`)));
  const { code, stderr } = await verbose.finished();
  expect(code).toBe(1);
  expect(stderr).toStartWith("dray mirror: nobody\\ncaught this\n");
  expect(stderr).toMatch(/^ +at /m);
});
