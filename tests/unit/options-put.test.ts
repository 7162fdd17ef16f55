import { expect, test } from "bun:test";
import { putNames } from "../../src/commands/put-names.ts";
import { putTable } from "../../src/options/put-options.ts";
import { rmTable } from "../../src/options/rm-options.ts";
import { effective, problemsOf } from "../support/load-options.ts";

test.each([
  ["a:1", [{ host: "a", port: 1 }]],
  [
    "a:1, b.example:65535",
    [
      { host: "a", port: 1 },
      { host: "b.example", port: 65_535 },
    ],
  ],
  [
    "[::1]:9,10.0.0.1:9",
    [
      { host: "::1", port: 9 },
      { host: "10.0.0.1", port: 9 },
    ],
  ],
])("--to %p is read", async (text, to) => {
  expect((await effective(putTable, ["file", "--to", text])).to).toEqual(to);
  const [first, ...more] = text.split(",");
  const flags = [first!, ...more].flatMap((one) => ["--to", one]);
  expect((await effective(putTable, ["file", ...flags])).to).toEqual(to);
});

test.each(["", "a", "a:", ":1", "a:0", "a:65536", "a:1x", "::1:9", "[::1]9", "a b:1", "../x:1", "a:1,,b:2"])(
  "--to %p is refused",
  async (text) => {
    expect(await problemsOf(putTable, ["file", "--to", text])).toHaveLength(1);
  },
);

test("a server that is given twice is refused, also in two spellings of the option", async () => {
  expect((await problemsOf(putTable, ["file", "--to", "a:1,b:2", "--to", "a:1"])).join()).toContain(
    "only once",
  );
});

test("names are as many as there are, and may hold commas", async () => {
  const { names } = await effective(
    rmTable,
    ["a,b", "c", "-d/e", "--on", "a:1"].filter((arg) => arg !== "-d/e"),
  );
  expect(names).toEqual(["a,b", "c"]);
  expect((await effective(rmTable, ["--on", "a:1", "--", "-d", "e"])).names).toEqual(["-d", "e"]);
});

const namesOf = (files: string[], options: { as?: string; into?: string } = {}): string[] =>
  putNames({ files, as: options.as, into: options.into }).map(({ components }) => components.join("/"));

test.each([
  [["a.txt"], {}, ["a.txt"]],
  [["/x/y/a.txt", "b"], {}, ["a.txt", "b"]],
  [["x/y/", "x/./z//"], {}, ["y", "z"]],
  [["."], {}, [""]],
  [["x/..", "a"], {}, ["", "a"]],
  [["../a"], {}, ["a"]],
  [["a", "b"], { into: "./p//q/" }, ["p/q/a", "p/q/b"]],
  [["."], { into: "p" }, ["p"]],
  [["x/a"], { as: "p/q" }, ["p/q"]],
])("%p with %p are called %p", (files, options, names) => {
  expect(namesOf(files, options)).toEqual(names);
});

test("two files that would have one name, and names that no server takes, are refused", () => {
  expect(() => namesOf(["x/a", "y/a"])).toThrow('would both be called "a"');
  for (const options of [{ as: "/a" }, { as: "../a" }, { into: "/p" }, { into: "p/../q" }])
    expect(() => namesOf(["a"], options)).toThrow(/--(as|into): the path/);
});
