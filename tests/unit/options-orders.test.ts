import { describe, expect, test } from "bun:test";
import { orderCommandOf } from "../../src/commands/order-command.ts";
import { initiateTable } from "../../src/options/initiate-options.ts";
import { orderCommandSchema } from "../../src/wire/order.ts";
import { effective, problemsOf } from "../support/load-options.ts";

const GIVE = ["-p", "1", "-s", "h:1:docs:0"];

describe("wishes that do not go together are named", () => {
  test.each([
    [["--verify", "--checksum"], ["--checksum, --verify"]],
    [["--verify", "--delete"], ["--delete, --verify"]],
    [["--verify", "--links", "copy"], ["--links, --verify"]],
    [["--dry-run", "--every", "1h"], ["--dry-run, --every"]],
    [
      ["--verify", "--checksum", "--delete", "--dry-run", "--every", "1h"],
      ["--checksum, --verify", "--delete, --verify", "--dry-run, --every"],
    ],
    [["--max-delete", "-1"], ["--max-delete"]],
    [["--max-delete-percent", "101"], ["--max-delete-percent"]],
    [["--links", "follow"], ["--links"]],
    [["--list"], ["--sources, --list"]],
    [["--follow", "0af10af1"], ["--sources, --follow"]],
    [["--cancel", "0af10af1", "--list"], ["--sources, --cancel, --list"]],
    [["--retry-failed", "0af10af1"], ["--sources, --retry-failed"]],
  ])("%p", async (flags, expected) => {
    const problems = await problemsOf(initiateTable, [...GIVE, ...flags]);
    expect(problems.map((problem) => problem.slice(0, problem.indexOf(": ")))).toEqual(expected);
  });

  test.each([
    [["--verify", "--dry-run", "--itemize"]],
    [["--verify", "--every", "7d", "--exclude", "*.log"]],
    [["--delete", "--checksum", "--links", "copy", "--dry-run"]],
    [["--delete", "--every", "1h", "--itemize"]],
    [["--checksum", "--verify=false"]],
  ])("not these: %p", async (flags) => {
    expect(await effective(initiateTable, [...GIVE, ...flags])).toBeDefined();
  });

  test("something has to be asked", async () => {
    const problems = await problemsOf(initiateTable, ["-p", "1"]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith("--sources: required");
  });
});

describe("what is asked of the mirror", () => {
  const commandOf = async (...args: string[]): Promise<ReturnType<typeof orderCommandOf>> =>
    orderCommandOf(await effective(initiateTable, args));
  const plain = {
    sources: [{ host: "h", port: 1, path: "docs", delayMs: 0 }],
    ...{ attempts: 5, patienceMs: 60_000, include: [], exclude: [] },
  };

  test("says nothing of what is not wished for, so that an older mirror takes it, too", async () => {
    const flags = ["--links", "skip", "--max-delete", "3", "--delete=false", "--bandwidth", "0"];
    for (const args of [GIVE, [...GIVE, ...flags]]) {
      expect(await commandOf(...args)).toEqual({ do: "give", order: plain });
    }
  });

  test.each([
    [["--delete"], { delete: { maxFiles: 10_000, maxPercent: 50 } }],
    [
      ["--delete", "--max-delete", "0", "--max-delete-percent", "100"],
      { delete: { maxFiles: 0, maxPercent: 100 } },
    ],
    [["--checksum", "--links", "copy", "--itemize"], { checksum: true, links: "copy", itemize: true }],
    [["--verify", "--dry-run"], { verify: true, dryRun: true }],
    [["--every", "90m", "--bandwidth", "1MiB"], { everyMs: 5_400_000, bytesPerSecond: 1024 * 1024 }],
  ])("is what was wished for, and a mirror takes it: %p", async (flags, wishes) => {
    const command = await commandOf(...GIVE, ...flags);
    expect(command).toEqual({ do: "give", order: { ...plain, ...wishes } } as typeof command);
    expect(orderCommandSchema.parse(JSON.parse(JSON.stringify(command)))).toEqual(command);
  });

  test.each([
    [["--list"], { do: "list" }],
    [["--follow", "0af10af1"], { do: "follow", orderId: "0af10af1" }],
    [["--cancel", "0af10af1"], { do: "cancel", orderId: "0af10af1" }],
    [["--retry-failed", "0af10af1"], { do: "retry", orderId: "0af10af1" }],
  ])("of orders that are there: %p", async (flags, expected) => {
    const command = await commandOf("-p", "1", ...flags);
    expect(command).toEqual(expected as typeof command);
  });
});
