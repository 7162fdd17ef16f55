import { describe, expect, test } from "bun:test";
import type { FullTable } from "../../src/options/table.ts";
import { TABLES } from "../../src/options/tables.ts";
import { load, problemsOf } from "../support/load-options.ts";

/** What each command needs at least. */
const CALLS: Record<string, string[]> = {
  content: ["-p", "1", "-d", "."],
  mirror: ["-p", "1", "-m", "."],
  initiate: ["-p", "1", "--list"],
  fileserve: ["127.0.0.1", "1", "."],
  fetch: ["127.0.0.1", "1", "file", "."],
  put: ["file", "--to", "127.0.0.1:1"],
  rm: ["name", "--on", "127.0.0.1:1"],
  mv: ["old", "new", "--on", "127.0.0.1:1"],
  ls: ["--on", "127.0.0.1:1"],
};

const call = (table: FullTable, flags: string[]): string[] => [...(CALLS[table.command] ?? []), ...flags];
const problems = (table: FullTable, ...flags: string[]): Promise<string[]> =>
  problemsOf(table, call(table, flags));
const isFine = async (table: FullTable, ...flags: string[]): Promise<void> =>
  expect(await load(table, call(table, flags))).toMatchObject({ action: "run" });

const withOption = (property: string): FullTable[] => TABLES.filter(({ options }) => property in options);

/** The seed's protocol has room for neither tokens nor TLS; the server says so loudly. */
const WITHOUT_LOCKS = new Set(["sync-server", "sync-client"]);

test("every command is a server or a client, and none of our own protocol leaves a door without a lock", () => {
  for (const { command, options } of TABLES) {
    if (WITHOUT_LOCKS.has(command)) continue;
    expect([command, "tokenFile" in options]).toEqual([command, true]);
    expect([command, "tlsClientCa" in options || "tls" in options]).toEqual([command, true]);
  }
});

describe("TLS that is asked for in half is no plain TCP by accident", () => {
  test("at any server", async () => {
    for (const table of withOption("tlsClientCa")) {
      await isFine(table);
      expect(await problems(table, "--tls-cert=x")).toEqual(["--tls-cert, --tls-key: are given together"]);
      expect(await problems(table, "--tls-key=x")).toEqual(["--tls-cert, --tls-key: are given together"]);
      expect(await problems(table, "--tls-client-ca=x")).toEqual([
        "--tls-client-ca: needs --tls-cert and --tls-key",
      ]);
      await isFine(table, "--tls-cert=x", "--tls-key=x", "--tls-client-ca=x");
    }
  });

  test.each([
    ["tls", "--"],
    ["sourceTls", "--source-"],
  ])("at any client with the option %s", async (property, prefix) => {
    for (const table of withOption(property)) {
      const full = (flags: string[]): string[] => flags.map((flag) => prefix + flag);
      const ask = (...flags: string[]): Promise<string[]> => problems(table, ...full(flags));
      await isFine(table);
      expect(await ask("tls-ca=x")).toEqual([`${prefix}tls-ca: needs ${prefix}tls`]);
      expect(await ask("tls-cert=x", "tls-key=x")).toEqual([`${prefix}tls-cert: needs ${prefix}tls`]);
      expect(await ask("tls", "tls-key=x")).toEqual([
        `${prefix}tls-cert, ${prefix}tls-key: are given together`,
      ]);
      await isFine(table, ...full(["tls", "tls-ca=x", "tls-cert=x", "tls-key=x"]));
    }
  });
});
