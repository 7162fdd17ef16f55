import { describe, expect, test } from "bun:test";
import { orderCommandOf } from "../../src/commands/order-command.ts";
import { printConfig } from "../../src/options/effective.ts";
import { initiateTable } from "../../src/options/initiate-options.ts";
import { mirrorTable } from "../../src/options/mirror-options.ts";
import { MAX_BYTES_PER_SECOND, MIN_BYTES_PER_SECOND, orderCommandSchema } from "../../src/wire/order.ts";
import { effective, problemsOf } from "../support/load-options.ts";

const MIRROR = ["-p", "1", "-m", "/tmp"];
const INITIATE = ["-p", "1"];
const rateOf = async (text: string): Promise<number> =>
  (await effective(mirrorTable, [...MIRROR, "--bandwidth", text])).bytesPerSecond;

describe("--bandwidth", () => {
  test("takes rates with units, and none", async () => {
    expect((await effective(mirrorTable, MIRROR)).bytesPerSecond).toBe(0);
    expect(await rateOf("5MiB")).toBe(5 * 1024 * 1024);
    expect(await rateOf("500kB")).toBe(500_000);
    expect(await rateOf("unlimited")).toBe(0);
    expect(await rateOf("0")).toBe(0);
  });

  test("takes what the protocol does, from its smallest to its largest", async () => {
    expect(await rateOf(String(MIN_BYTES_PER_SECOND))).toBe(MIN_BYTES_PER_SECOND);
    expect(await rateOf(String(MAX_BYTES_PER_SECOND))).toBe(MAX_BYTES_PER_SECOND);
    for (const wrong of [`${MIN_BYTES_PER_SECOND - 1}`, `${MAX_BYTES_PER_SECOND + 1}`, "-1", "fast", "1"]) {
      const [problem, ...others] = await problemsOf(mirrorTable, [...MIRROR, `--bandwidth=${wrong}`]);
      expect(problem).toContain("a rate per second from 16KiB to 1TiB");
      expect(others).toEqual([]);
    }
  });

  test("comes back from the printed configuration", async () => {
    for (const text of ["5MiB", "unlimited"]) {
      const values = await effective(mirrorTable, [...MIRROR, "--bandwidth", text]);
      const config = printConfig(mirrorTable, values);
      expect(JSON.parse(config)).toMatchObject({ bandwidth: text });
      const again = await effective(mirrorTable, ["--config", "-"], { stdin: config });
      expect(again.bytesPerSecond).toBe(values.bytesPerSecond);
    }
  });
});

describe("--limit", () => {
  test.each([
    [["--limit", "all", "--bandwidth", "1MiB"], { do: "limit", bytesPerSecond: 1024 * 1024 }],
    [["--limit", "0af1", "--bandwidth", "0"], { do: "limit", orderId: "0af1", bytesPerSecond: null }],
  ])("%j asks for it", async (flags, command) => {
    const asked = orderCommandOf(await effective(initiateTable, [...INITIATE, ...flags]));
    expect(asked).toEqual(command as typeof asked);
    expect(orderCommandSchema.safeParse(asked).success).toBe(true);
  });

  test("needs a limit, and a limit needs something to hold for", async () => {
    expect(await problemsOf(initiateTable, [...INITIATE, "--limit", "all"])).toEqual([
      "--bandwidth: required with --limit; unlimited lifts a limit",
    ]);
    expect(await problemsOf(initiateTable, [...INITIATE, "--list", "--bandwidth", "1MiB"])).toEqual([
      "--bandwidth: belongs to an order that is given, or to --limit",
    ]);
  });

  test("of none is no part of an order", async () => {
    const give = [...INITIATE, "-s", "a:1:.:0", "--bandwidth"];
    expect(orderCommandOf(await effective(initiateTable, [...give, "1MiB"]))).toMatchObject({
      order: { bytesPerSecond: 1024 * 1024 },
    });
    const order = orderCommandOf(await effective(initiateTable, [...give, "unlimited"]));
    expect(order).not.toHaveProperty("order.bytesPerSecond");
  });
});
