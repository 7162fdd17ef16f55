import { expect, test } from "bun:test";
import fc from "fast-check";
import { configSchema, printConfig } from "../../src/options/effective.ts";
import { commandHelp } from "../../src/options/help.ts";
import { initiateTable } from "../../src/options/initiate-options.ts";
import { mirrorTable } from "../../src/options/mirror-options.ts";
import { localPath, size } from "../../src/options/option-type.ts";
import { optionReference } from "../../src/options/reference.ts";
import { commandTable, type FullTable, namedOptions } from "../../src/options/table.ts";
import { TABLES } from "../../src/options/tables.ts";
import { effective, load, problemsOf } from "../support/load-options.ts";

/** A table with what no command has yet. */
const probeTable = commandTable({
  command: "probe-it",
  summary: "hold what no command has yet",
  synopsis: "probe-it",
  examples: [],
  options: {
    cacheSizeBytes: {
      name: "cacheSize",
      type: size(1024, 1024 ** 4),
      placeholder: "SIZE",
      description: "how much to hold",
      default: 64 * 1024 ** 2,
    },
    token: {
      type: localPath(),
      placeholder: "TOKEN",
      description: "who we are",
      default: "anybody",
      secret: true,
    },
  },
});

const NEEDED: Record<string, string[]> = {
  content: ["-p", "0", "-d", "."],
  mirror: ["-p", "0", "-m", "/tmp"],
  initiate: ["-p", "1", "-s", "a:1:x:0"],
  fileserve: ["127.0.0.1", "0", "."],
  fetch: ["127.0.0.1", "1", "x", "."],
  put: ["x", "y", "--to", "a:1,[::1]:2"],
  rm: ["x", "y", "--on", "a:1"],
  mv: ["x", "y", "--on", "a:1"],
  ls: ["x", "--on", "a:1"],
  "sync-server": ["0", "0"],
  "sync-client": ["127.0.0.1", "1", "2", "."],
};

async function printed(table: FullTable, args: string[], stdin?: string): Promise<string> {
  const request = await load(table, [...args, "--print-config"], stdin === undefined ? {} : { stdin });
  if (request.action !== "print") throw new Error(`expected print, got ${request.action}`);
  return printConfig(table, request.values);
}

test.each(TABLES.map((table) => [table.command, table] as const))(
  "what %s --print-config prints is a configuration that means the same",
  async (command, table) => {
    const text = await printed(table, NEEDED[command] ?? []);
    expect(await printed(table, ["--config", "-"], text)).toBe(text);
    expect(await effective(table, ["--config", "-"], { stdin: text })).toEqual(
      await effective(table, NEEDED[command] ?? []),
    );
    // Every option is in there, under its own name, but those that have no value.
    const values: Record<string, unknown> = await effective(table, NEEDED[command] ?? []);
    const withValue = namedOptions(table).filter(({ property, spec }) => {
      return spec.optional === undefined || values[property] !== undefined;
    });
    expect(Object.keys(JSON.parse(text) as object)).toEqual(withValue.map(({ name }) => name));
  },
);

test("any accepted configuration survives --print-config", async () => {
  const configs = fc.record({
    workers: fc.integer({ min: 1, max: 256 }),
    threads: fc.integer({ min: 1, max: 64 }),
    grace: fc.oneof(
      fc.integer({ min: 0, max: 3600 }),
      fc.constantFrom("1ms", "0.25", "90s", "1h", "59.999s"),
    ),
    bind: fc.constantFrom("::", "[::1]", "localhost", "0.0.0.0"),
    durability: fc.constantFrom("strict", "batch", "none"),
    verifyWritten: fc.boolean(),
    json: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(configs, async (config) => {
      const stdin = JSON.stringify({ port: 1, mirrorDirectory: "m", ...config });
      const values = await effective(mirrorTable, ["--config", "-"], { stdin });
      const text = printConfig(mirrorTable, values);
      expect(await effective(mirrorTable, ["--config", "-"], { stdin: text })).toEqual(values);
    }),
    { numRuns: 50 },
  );
});

test("sources are printed in the form of -s, awkward paths included", async () => {
  const list = String.raw`[::1]:1:a\, b\\:c:0.25,h:2:.:3`;
  const text = await printed(initiateTable, ["-p", "1", "-s", list]);
  expect(JSON.parse(text)).toMatchObject({ sources: [String.raw`[::1]:1:a\, b\\:c:0.25`, "h:2:.:3"] });
  expect(await printed(initiateTable, ["--config", "-"], text)).toBe(text);
});

test("sizes take units in every layer, and plain bytes in JSON", async () => {
  expect(await effective(probeTable, ["--cache-size", "1MB"])).toMatchObject({ cacheSizeBytes: 1_000_000 });
  const env = { DRAY_PROBE_IT_CACHE_SIZE: "2k" };
  expect(await effective(probeTable, [], { env })).toMatchObject({ cacheSizeBytes: 2048 });
  const stdin = '{"cacheSize": 4096}';
  expect(await effective(probeTable, ["--config", "-"], { stdin })).toMatchObject({ cacheSizeBytes: 4096 });
  expect(JSON.parse(await printed(probeTable, []))).toMatchObject({ cacheSize: "64MiB" });
  const [problem] = await problemsOf(probeTable, ["--cache-size", "1023"]);
  expect(problem).toStartWith("--cache-size: expected a size from 1KiB to 1TiB, such as 64MiB, 1GB or 500k");
});

test("a secret shows neither in --print-config, nor in a message, nor in the schema", async () => {
  const text = await printed(probeTable, ["--token", "hunter2"]);
  expect(JSON.parse(text)).toMatchObject({ token: "********" });
  expect(await problemsOf(probeTable, ["--token", "hunter2\0"])).toEqual(["--token: expected a path"]);
  expect(JSON.parse(configSchema(probeTable))).toMatchObject({ properties: { token: { writeOnly: true } } });
});

test("the schema describes every key and allows no other", () => {
  for (const table of TABLES) {
    const schema = JSON.parse(configSchema(table)) as { properties: Record<string, { description: string }> };
    expect(schema).toMatchObject({
      type: "object",
      additionalProperties: false,
      title: `dray ${table.command}`,
    });
    expect(Object.keys(schema.properties)).toEqual(namedOptions(table).map(({ name }) => name));
    for (const { description } of Object.values(schema.properties)) expect(description).not.toBe("");
  }
  expect(JSON.parse(configSchema(mirrorTable))).toMatchObject({
    properties: {
      workers: { type: "integer", minimum: 1, maximum: 256, default: 8 },
      grace: { type: ["number", "string"], default: "10s" },
      durability: { enum: ["strict", "batch", "none"], default: "batch" },
    },
  });
  // The same on every machine.
  expect(configSchema(mirrorTable)).not.toMatch(/"threads"[^}]*default/);
});

test("the help names every flag, variable and default, and keeps to the width", () => {
  for (const table of TABLES) {
    for (const width of [60, 80, 100]) {
      const help = commandHelp(table, width);
      for (const { flag, variable, spec } of namedOptions(table)) {
        expect(help).toContain(flag);
        expect(help).toContain(`[env: ${variable}]`);
        for (const alias of spec.aliases ?? []) expect(help).toContain(`-${alias}, `);
      }
      const [, options = ""] = help.split("Options:\n");
      const listed = options.split("Examples:\n")[0] ?? "";
      expect(listed.split("\n").filter((line) => line.length > width && !line.includes("[env: "))).toEqual(
        [],
      );
    }
    expect(commandHelp(table, 80)).toContain(`\n  dray ${table.synopsis} [OPTIONS]\n`);
  }
  expect(commandHelp(mirrorTable, 80)).toContain("[default: all cores]");
});

test("no two options of a command share a name, a letter or a key", () => {
  for (const table of TABLES) {
    const named = namedOptions(table);
    const letters = named.flatMap(({ spec }) => spec.aliases ?? []);
    expect(new Set(letters).size).toBe(letters.length);
    expect(new Set(named.map(({ name }) => name)).size).toBe(named.length);
  }
});

test("docs/OPTIONS.md is what the tables say (if not: npm run docs)", async () => {
  const written = await Bun.file(`${import.meta.dir}/../../docs/OPTIONS.md`).text();
  expect(written).toBe(optionReference(TABLES));
});
