import { describe, expect, test } from "bun:test";
import { DrayError } from "../../src/errors/dray-error.ts";
import { createLog, type LogVerbosity } from "../../src/report/log.ts";
import { HOSTILE_NAME } from "./report-order-events.ts";

function logged(
  level: LogVerbosity,
  isTTY: boolean,
  act: (log: ReturnType<typeof createLog>) => void,
): string {
  let text = "";
  act(createLog(level, { isTTY, write: (part: string) => void (text += part) }));
  return text;
}

const everyLevel = (log: ReturnType<typeof createLog>): void => {
  log.error("no disk");
  log.warn("open to all");
  log.info("listening");
  log.debug("frame 7");
};

describe("createLog", () => {
  test.each([
    ["silent", ""],
    ["error", "error: no disk\n"],
    ["warn", "error: no disk\nwarning: open to all\n"],
    ["info", "error: no disk\nwarning: open to all\nlistening\n"],
    ["debug", "error: no disk\nwarning: open to all\nlistening\ndebug: frame 7\n"],
  ] as const)("%s on a terminal", (level, text) => expect(logged(level, true, everyLevel)).toBe(text));

  test("elsewhere each line has its time and level", () => {
    const lines = logged("info", false, everyLevel).split("\n");
    expect(lines.map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /, "T "))).toEqual([
      "T error no disk",
      "T warn  open to all",
      "T info  listening",
      "",
    ]);
  });

  test("repeated lines are all there, at once", () => {
    const text = logged("info", true, (log) => {
      for (let time = 0; time < 20; time += 1) log.warn("again");
    });
    expect(text).toBe("warning: again\n".repeat(20));
  });

  test("nothing in a message can forge a second line or steer a terminal", () => {
    for (const isTTY of [true, false]) {
      const text = logged("debug", isTTY, (log) => {
        log.info(HOSTILE_NAME);
        log.error(new DrayError("refused", HOSTILE_NAME, { cause: new Error(HOSTILE_NAME) }));
        log.warn("name", { path: HOSTILE_NAME });
      });
      expect(text.split("\n")).toHaveLength(4);
      expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    }
  });

  test("an error is its message; for debugging also its stack and causes", () => {
    const error = new DrayError("storage", "Cannot write a.txt", { cause: new Error("EIO") });
    expect(logged("debug", true, (log) => log.error(error))).toBe("error: Cannot write a.txt\n");
    const lines = logged("debug", true, (log) => log.debug(error)).split("\n");
    expect(lines[0]).toBe("debug: Cannot write a.txt");
    expect(lines[1]).toMatch(/^ +at /);
    expect(lines).toContain("  cause: EIO");
  });

  test("goes to stderr and leaves stdout to the results", async () => {
    const program = `
      import { createLog } from ${JSON.stringify(import.meta.resolve("../../src/report/log.ts"))};
      const log = createLog("debug");
      log.error("1"); log.warn("2"); log.info("3"); log.debug("4"); log.success("5"); log.log("6");
    `;
    const child = Bun.spawn([process.execPath, "-e", program], {
      stdout: "pipe",
      stderr: "pipe",
      stdin: "ignore",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    expect(stdout).toBe("");
    expect(stderr.trim().split("\n")).toHaveLength(6);
    expect(await child.exited).toBe(0);
  });
});
