import { expect, test } from "bun:test";
import { contentTable } from "../../src/options/content-options.ts";
import { initiateTable } from "../../src/options/initiate-options.ts";
import { mirrorTable } from "../../src/options/mirror-options.ts";
import { effective, load, problemsOf } from "../support/load-options.ts";

const MIRROR = ["-p", "0", "-m", "/tmp"];

test.each([[["-w", "5"]], [["-w5"]], [["-w=5"]], [["--workers", "5"]], [["--workers=5"]], [["-vw", "5"]]])(
  "%j sets the workers",
  async (flags) => {
    expect(await effective(mirrorTable, [...MIRROR, ...flags])).toMatchObject({ workers: 5 });
  },
);

test.each([
  [["--json"], true],
  [["--json=true"], true],
  [["--json=off"], false],
  [["--no-json"], false],
])("%j sets the switch to %p", async (flags, json) => {
  const stdin = JSON.stringify({ json: !json });
  expect(await effective(mirrorTable, [...MIRROR, ...flags, "--config", "-"], { stdin })).toMatchObject({
    json,
  });
});

test("variables of switches take the usual words", async () => {
  for (const [text, json] of Object.entries({
    true: true,
    1: true,
    yes: true,
    on: true,
    false: false,
    0: false,
  })) {
    expect(await effective(mirrorTable, MIRROR, { env: { DRAY_MIRROR_JSON: text } })).toMatchObject({ json });
  }
  expect(await problemsOf(mirrorTable, MIRROR, { env: { DRAY_MIRROR_JSON: "2" } })).toEqual([
    'DRAY_MIRROR_JSON: expected true or false, got "2"',
  ]);
});

test("--verbose and --quiet are levels of the log", async () => {
  expect(await effective(mirrorTable, [...MIRROR, "-v"])).toMatchObject({ logLevel: "debug" });
  expect(await effective(mirrorTable, [...MIRROR, "--quiet"])).toMatchObject({ logLevel: "error" });
  expect(await problemsOf(mirrorTable, [...MIRROR, "-q", "--log-level", "info"])).toEqual([
    "--log-level: given more than once (-q, --log-level)",
  ]);
});

test("a value given twice is refused, in whatever spelling; lists may be repeated", async () => {
  expect(await problemsOf(initiateTable, ["-m", "a", "-n", "b", "-p", "1", "-s", "a:1:x:0"])).toEqual([
    "--mirror: given more than once (-m, -n)",
  ]);
  expect(await problemsOf(mirrorTable, [...MIRROR, "--json", "--no-json"])).toEqual([
    "--json: given more than once (--json, --no-json)",
  ]);
  const args = ["-p", "1", "-s", "a:1:x:0", "--sources=b:1:x:0"];
  expect((await effective(initiateTable, args)).sources?.map(({ host }) => host)).toEqual(["a", "b"]);
});

test("a flag is never taken for the value of the one before it", async () => {
  expect(await problemsOf(mirrorTable, [...MIRROR, "--bind", "--workers", "4"])).toEqual([
    "--bind: needs a value (one that starts with - is written --bind=VALUE)",
  ]);
  // A negative number is a value, and a wrong one.
  expect(await problemsOf(mirrorTable, [...MIRROR, "-w", "-4"])).toEqual([
    "--workers: expected a whole number from 1 to 256, got -4",
  ]);
  expect(await effective(mirrorTable, ["-p", "0", "--mirror-directory=-odd"])).toMatchObject({
    mirrorDirectory: "-odd",
  });
});

test("one mistaken flag makes one problem", async () => {
  expect(await problemsOf(mirrorTable, [...MIRROR, "--threds", "4"])).toEqual([
    "--threds: unknown flag (did you mean --threads?)",
  ]);
  expect(await problemsOf(mirrorTable, [...MIRROR, "-workers", "4"])).toEqual([
    "-workers: unknown flag (did you mean --workers?)",
  ]);
  expect(await problemsOf(mirrorTable, [...MIRROR, "-x4"])).toEqual(["-x: unknown flag"]);
  expect(await problemsOf(mirrorTable, [...MIRROR, "--toString"])).toEqual(["--toString: unknown flag"]);
  expect(await problemsOf(mirrorTable, [...MIRROR, "--print-config=yes"])).toEqual([
    '--print-config: takes no value, got "yes"',
  ]);
});

test("arguments that no option takes are refused, also behind --", async () => {
  expect(await problemsOf(contentTable, ["-p", "0", "-d", "/", "x", "--", "--json", "-"])).toEqual([
    '"x": unexpected argument',
    '"--json": unexpected argument',
    '"-": unexpected argument',
  ]);
});

test("help wins over everything, but not behind --", async () => {
  expect(await load(mirrorTable, ["--wrong", "--config", "/no/such", "-h"])).toEqual({ action: "help" });
  expect(await problemsOf(mirrorTable, [...MIRROR, "--", "--help"])).toEqual([
    '"--help": unexpected argument',
  ]);
});

test("the schema needs no options, and still no wrong flag", async () => {
  expect(await load(mirrorTable, ["--schema"])).toEqual({ action: "schema" });
  expect(await problemsOf(mirrorTable, [...MIRROR, "--schema", "--wrong"])).toEqual([
    "--wrong: unknown flag",
  ]);
});
