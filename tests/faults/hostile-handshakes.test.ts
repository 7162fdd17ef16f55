import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { orderBeside } from "../support/hostile-order.ts";
import { runDray } from "../support/process.ts";
import { type Script, ScriptedSource, type ScriptedConnection } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { entries, errorFrame, frame, FRAME, welcome } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const GREETINGS: Record<string, (connection: ScriptedConnection) => void> = {
  "a version of tomorrow": (connection) => connection.send(welcome(2)),
  "version zero": (connection) => connection.send(welcome(0)),
  "another magic": (connection) => {
    const other = Buffer.from(welcome().subarray(16));
    other.write("YARD");
    connection.send(frame(FRAME.welcome, 0, other));
  },
  "a welcome that is too long": (connection) =>
    connection.send(frame(FRAME.welcome, 0, Buffer.concat([welcome().subarray(16), Buffer.of(0)]))),
  "a welcome of 4 GiB": (connection) =>
    connection.send(frame(FRAME.welcome, 0, Buffer.alloc(100), 0xffff_ffff)),
  "a list that nobody asked for": (connection) => connection.send(entries(1, [{ path: "x" }])),
  "an error": (connection) => connection.send(errorFrame(0, 9, "not today")),
  garbage: (connection) => connection.send(Buffer.from("220 ftp.example ESMTP ready\r\n".repeat(10))),
  "nothing but zeros": (connection) => connection.send(Buffer.alloc(4096)),
  "an end": (connection) => connection.end(),
  "a reset": (connection) => connection.reset(),
};

describe("a source that answers the handshake with", () => {
  test.each(Object.entries(GREETINGS))("%s", async (_, hello) => {
    await orderBeside({ hello }, ({ given, status, source, names }) => {
      expect(given.code).toBe(3);
      expect(["unreachable", "refused"]).toContain(status);
      expect(source.error).toBeString();
      expect(names).toEqual([]);
    });
  });

  test("a reset before it was said anything", async () => {
    await orderBeside({ opened: (connection) => connection.reset() }, ({ given, status }) => {
      expect(given.code).toBe(3);
      expect(status).toBe("unreachable");
    });
  });
});

describe("a mirror that answers the handshake with", () => {
  test.each(Object.entries(GREETINGS))("%s", async (_, hello) => {
    using mirror = new ScriptedSource({ hello });
    const to = ["-m", "127.0.0.1", "-p", String(mirror.port), "--timeout", "500ms"];
    const { code, stdout, stderr } = await runDray(["initiate", ...to, "-s", "127.0.0.1:1:.:0"]);
    expect([5, 6, 7]).toContain(code!);
    expect(stdout).toBe("");
    expect(stderr).toStartWith(`dray initiate: Cannot reach the mirror at 127.0.0.1:${mirror.port}: `);
  });
});

test.each<[string, (number: number) => boolean]>([
  ["again and again", (number) => number % 3 === 2],
  ["longer than a dial is repeated", (number) => number >= 3],
])("a source that has too many clients %s is tried again", async (_, isWelcome) => {
  const script: Script = {
    files: { file: Buffer.from("patience") },
    hello: (connection) => {
      if (isWelcome(connection.number)) return connection.sendWelcome();
      connection.send(errorFrame(0, 12, "too many connections"));
      connection.end();
    },
  };
  await orderBeside(script, async ({ given, read }) => {
    expect(given.code).toBe(0);
    expect((await read("file")).toString()).toBe("patience");
  });
});

test("messages of a source cannot steer the terminal or forge lines of the report", async () => {
  using source = new ScriptedSource({
    files: { file: Buffer.from("x") },
    fetch: (connection, { id }) =>
      connection.send(errorFrame(id, 9, "\u001b[2J\u009b31m\r\nFiles  99\u202e")),
  });
  await using stage = await Stage.open();
  const mirror = ["-m", "127.0.0.1", "-p", String(stage.mirrorPort)];
  const { code, stdout, stderr } = await runDray(["initiate", ...mirror, "-s", sourceText(source)]);
  expect(code).toBe(3);
  for (const text of [stdout, stderr, stage.mirror.stderrText()]) {
    expect(text.match(/[\p{Cc}\p{Bidi_Control}]/gu) ?? []).toEqual(text.match(/\n/g) ?? []);
    expect(text).not.toMatch(/^Files +99/m);
  }
  expect(stdout).toContain("\\x1b[2J");
});
