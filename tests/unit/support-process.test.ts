import { afterEach, expect, test } from "bun:test";
import { drayBinary } from "../support/binary.ts";
import { currentRssBytes, peakRssBytes } from "../support/memory.ts";
import { endStartedPrograms, startProgram } from "../support/process.ts";
import { type Program } from "../support/program.ts";

afterEach(endStartedPrograms);

/** A program that runs `script` and, when asked for JSON, is told so by its arguments. */
function start(script: string, ...args: string[]): Program {
  return startProgram([process.execPath, "-e", script, "--", ...args]);
}

const WAITS_FOR_EVER = "setInterval(() => undefined, 60_000);";

test("events can be awaited, in any order, before and after they come", async () => {
  const program = start(
    `console.log('{"type":"listening","address":"127.0.0.1","port":4711}'); console.log('{"type":"ready"}'); ${WAITS_FOR_EVER}`,
    "--json",
  );
  await program.event("ready");
  expect(await program.listening()).toEqual({ address: "127.0.0.1", port: 4711 });
  expect(program.events.map((event) => event.type)).toEqual(["listening", "ready"]);
  expect(await program.stop("SIGTERM")).toMatchObject({ code: null, signal: "SIGTERM" });
});

test("lines gives every event until the output ends, the last one without a newline too", async () => {
  const program = start(`process.stdout.write('{"type":"a"}\\n{"type":"b"}\\n{"type":"result"}')`, "--json");
  const types: string[] = [];
  for await (const event of program.lines()) types.push(event.type);
  expect(types).toEqual(["a", "b", "result"]);
  expect(await program.finished()).toMatchObject({ code: 0, signal: null });
});

test("an event that does not come fails with all that was said", async () => {
  const program = start(
    `console.log('{"type":"other"}'); console.error("the reason"); ${WAITS_FOR_EVER}`,
    "--json",
  );
  await program.stderrMatch(/the reason/);
  await expect(program.event("listening", { timeoutMs: 10 })).rejects.toThrow(
    /in vain for the event "listening" .*running[^]*"type":"other"[^]*the reason/,
  );
});

test("a program that ends early fails the wait at once", async () => {
  const program = start(`console.error("no such directory"); process.exit(4)`, "--json");
  await expect(program.event("listening")).rejects.toThrow(
    /ended without the event "listening"[^]*no such directory/,
  );
  expect(await program.exit).toEqual({ code: 4, signal: null });
});

test("with --json, anything else on stdout is a failure", async () => {
  const program = start(`console.log("hello"); ${WAITS_FOR_EVER}`, "--json");
  await expect(program.event("listening")).rejects.toThrow('Not a JSON event on stdout: "hello"');
});

test("stdin, environment and folder reach the program, the runner's own settings do not", async () => {
  const script = `console.log(await Bun.stdin.text(), process.cwd(), process.env.DRAY_PORT, process.env.NODE_ENV)`;
  const program = startProgram([process.execPath, "-e", script], {
    stdin: "config",
    cwd: "/",
    env: { DRAY_PORT: "7" },
  });
  expect(await program.finished()).toMatchObject({ code: 0, stdout: "config / 7 undefined\n" });
});

test("a program is ended with its scope, however it behaves", async () => {
  let exit: Program["exit"];
  {
    await using program = start(
      `process.on("SIGTERM", () => undefined); console.log("up"); ${WAITS_FOR_EVER}`,
    );
    await program.stdoutMatch(/up/);
    exit = program.exit;
  }
  expect(await exit).toEqual({ code: null, signal: "SIGKILL" });
});

test("memory of a process is read from the system, and only while it lives", async () => {
  const program = start(
    `globalThis.held = Buffer.alloc(100 * 1024 * 1024, 1); console.log("up"); ${WAITS_FOR_EVER}`,
  );
  await program.stdoutMatch(/up/);
  const currentBytes = currentRssBytes(program.pid);
  expect(currentBytes).toBeGreaterThan(100 * 1024 * 1024);
  expect(peakRssBytes(program.pid)).toBeGreaterThanOrEqual(currentBytes);
  await program.stop("SIGKILL");
  expect(() => currentRssBytes(program.pid)).toThrow();
});

test("a missing executable is reported with what to do", () => {
  const before = process.env.DRAY_BINARY;
  try {
    process.env.DRAY_BINARY = "/nowhere/dray";
    expect(drayBinary).toThrow('There is no executable at /nowhere/dray. Run "npm run build" first');
  } finally {
    if (before === undefined) delete process.env.DRAY_BINARY;
    else process.env.DRAY_BINARY = before;
  }
});
