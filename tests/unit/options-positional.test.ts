import { expect, test } from "bun:test";
import { commandHelp } from "../../src/options/help.ts";
import { host, integer, localPath, textList } from "../../src/options/option-type.ts";
import { optionReference } from "../../src/options/reference.ts";
import { commandTable, placeholderOf, positionalOptions } from "../../src/options/table.ts";
import { TABLES } from "../../src/options/tables.ts";
import { effective, load, problemsOf } from "../support/load-options.ts";

const serve = commandTable({
  command: "serve",
  summary: "serve a directory",
  synopsis: "serve HOST PORT [DIR]",
  examples: [],
  options: {
    directory: { type: localPath(), optional: true, placeholder: "DIR", description: "serve this" },
    bind: { type: host(), placeholder: "HOST", description: "listen here" },
    port: { type: integer(1, 9999), aliases: ["p"], placeholder: "PORT", description: "and on this port" },
  },
  positional: ["bind", "port", "directory"],
});

const collect = commandTable({
  command: "collect",
  summary: "collect files",
  synopsis: "collect HOST FILE…",
  examples: [],
  options: {
    bind: { type: host(), placeholder: "HOST", description: "where" },
    files: { type: textList("a name"), placeholder: "FILE", description: "what" },
  },
  positional: ["bind", "files"],
});

test("arguments without a flag fill the options of the table's list in its order", async () => {
  const expected = { bind: "::1", port: 80, directory: "/srv" };
  expect(await effective(serve, ["::1", "80", "/srv"])).toMatchObject(expected);
  expect(await effective(serve, ["--json", "::1", "80", "--quiet", "/srv"])).toMatchObject(expected);
  expect(await effective(serve, ["::1", "80"])).toMatchObject({ bind: "::1", port: 80 });
  expect(await effective(serve, ["--bind", "::1", "-p", "80", "--directory=/srv"])).toMatchObject(expected);
});

test("what follows -- is an argument, whatever it looks like, and so is a single -", async () => {
  expect(await effective(serve, ["a", "80", "--", "-odd"])).toMatchObject({ directory: "-odd" });
  expect(await effective(serve, ["a", "80", "-"])).toMatchObject({ directory: "-" });
  expect(await problemsOf(serve, ["a", "80", "-odd"])).toEqual(["-o: unknown flag"]);
});

test("arguments win over the environment and the configuration, which can also stand in for them", async () => {
  const env = { DRAY_SERVE_PORT: "81" };
  const stdin = '{"bind":"b","directory":"/etc"}';
  const given = { env, stdin };
  expect(await effective(serve, ["a", "80", "--config", "-"], given)).toMatchObject({
    bind: "a",
    port: 80,
    directory: "/etc",
  });
  expect(await effective(serve, ["a", "--config", "-"], given)).toMatchObject({ bind: "a", port: 81 });
});

test("too few, too many, wrong and doubled ones are problems, all told at once under their own names", async () => {
  expect(await problemsOf(serve, [])).toEqual([
    'HOST: is required (give it as argument 1, --bind HOST, DRAY_SERVE_BIND, or "bind" in --config)',
    'PORT: is required (give it as argument 2, -p PORT, DRAY_SERVE_PORT, or "port" in --config)',
  ]);
  expect(await problemsOf(serve, ["", "http", "x", "y", "--prot", "8"])).toEqual([
    '"y": unexpected argument',
    "--prot: unknown flag (did you mean --port?)",
    "HOST: expected a host name or an IP address",
    'PORT: expected a whole number from 1 to 9999, got "http"',
  ]);
  expect(await problemsOf(serve, ["a", "80", "-p", "81", "/srv", "--bind=b"])).toEqual([
    "--port: given more than once (PORT, -p)",
    "--bind: given more than once (HOST, --bind)",
  ]);
  expect(await problemsOf(serve, ["-p", "81", "a", "80"])).toEqual([
    "--port: given more than once (-p, PORT)",
  ]);
});

test("a list at the end takes all the rest", async () => {
  expect(await effective(collect, ["a", "x", "--json", "y", "--", "--z"])).toMatchObject({
    bind: "a",
    files: ["x", "y", "--z"],
  });
  expect(await problemsOf(collect, ["a"])).toEqual([
    'FILE: is required (give it as argument 2, --files FILE, DRAY_COLLECT_FILES, or "files" in --config)',
  ]);
  expect(await problemsOf(collect, ["a", "x", ""])).toHaveLength(1);
});

test("beside a flag that takes their job, arguments leave out the places that yield to it", async () => {
  const yielding = commandTable({
    command: "serve",
    summary: "serve a directory",
    synopsis: "serve HOST PORT [DIR]",
    examples: [],
    options: {
      bind: { ...serve.options.bind, optional: true },
      port: { ...serve.options.port, optional: true },
      directory: serve.options.directory,
      from: { type: textList("a name"), optional: true, description: "instead of a host" },
    },
    positional: ["bind", "port", "directory"],
    yields: { from: ["bind", "port"] },
  });
  const expected = { from: ["x"], directory: "/srv" };
  for (const args of [
    ["--from", "x", "/srv"],
    ["/srv", "--from=x"],
    ["--from", "x", "--", "/srv"],
  ]) {
    const values = await effective(yielding, args);
    expect(values).toMatchObject(expected);
    expect(values).not.toHaveProperty("bind");
  }
  expect(await problemsOf(yielding, ["a", "80", "--from", "x"])).toEqual(['"80": unexpected argument']);
  expect(await effective(yielding, ["a", "80", "--", "--from"])).toMatchObject({
    bind: "a",
    directory: "--from",
  });
});

test("--help wins over whatever arguments there are", async () => {
  expect(await load(serve, ["1", "2", "3", "4", "--help"])).toEqual({ action: "help" });
});

test("help and reference show the places", () => {
  const help = commandHelp(serve, 100);
  expect(help).toMatch(/^Arguments:\n +HOST +the same as --bind HOST\n +PORT +the same as --port PORT$/m);
  expect(commandHelp(collect, 100)).toContain("takes all arguments from here on");
  expect(optionReference([serve])).toContain("| `PORT` as argument 2, or `-p, --port PORT` | `port` |");
});

test("every command's synopsis names its places in their order", () => {
  for (const table of TABLES) {
    const places = positionalOptions(table).map(placeholderOf);
    const named = (table.synopsis.slice(table.command.length).match(/(?<!-\S*) \[?[A-Z_]+/g) ?? []).map(
      (word) => word.replace(/^ \[?/, ""),
    );
    if (places.length > 0) expect([table.command, ...named]).toEqual([table.command, ...places]);
  }
});
