import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findImports, importViolations, type ImportRule, type Sources } from "../support/import-rule.ts";

/** What a feature may import; never another feature. */
const BELOW_FEATURES = ["transfer", "net", "disk", "wire", "errors"];
const FEATURES = ["mirror", "fileserve", "fetch", "upload", "sync"];

/** The import rule of the house (ARCHITECTURE.md). */
const RULE: ImportRule = {
  mayImport: {
    errors: [],
    wire: ["errors"],
    options: ["errors"],
    net: ["wire", "errors"],
    disk: ["wire", "errors"],
    transfer: ["wire", "net", "disk", "errors"],
    ...Object.fromEntries(FEATURES.map((feature) => [feature, BELOW_FEATURES])),
    report: ["wire", "options", "errors"],
    commands: [...FEATURES, ...BELOW_FEATURES, "options", "report", "thread-url.ts"],
    "main.ts": ["commands", "options", "report", "errors"],
    "thread-url.ts": [],
    "thread.ts": [...FEATURES, ...BELOW_FEATURES],
  },
  // So that `dray --help` does not load what it does not need. The shell is what finds the command.
  lazily: { from: "main.ts", to: "commands", except: ["commands/shell.ts"] },
  pure: {
    folders: ["wire"],
    forbiddenModules:
      /^(?:bun(?::.*)?|(?:node:)?(?:fs|net|tls|dgram|dns|http|https|http2|child_process|worker_threads|cluster|os|process|timers|perf_hooks)(?:\/.*)?)$/,
    forbiddenCode:
      /\b(?:Date\.now|new Date\(\)|Math\.random|performance\.now|process\.(?:hrtime|env|cwd)|set(?:Timeout|Interval|Immediate)|fetch\(|crypto\.(?:randomUUID|getRandomValues)|Bun\.(?:listen|connect|serve|file|write|spawn|spawnSync|udpSocket|sleep|sleepSync|nanoseconds|randomUUIDv7|env|stdin|stdout))/,
  },
};

const src = join(import.meta.dir, "../../src");
const ours: Sources = new Map(
  [...new Bun.Glob("**/*.ts").scanSync(src)]
    .sort()
    .map((path) => [path, readFileSync(join(src, path), "utf8")]),
);

test("src keeps the import rule", () => {
  expect(importViolations(ours, RULE)).toEqual([]);
});

test("no import in src escapes the check", () => {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const [path, source] of ours) {
    const found = findImports(source).map((found) => found.specifier);
    const missed = transpiler.scanImports(source).filter(({ path: specifier }) => !found.includes(specifier));
    expect({ path, missed }).toEqual({ path, missed: [] });
  }
});

test("every kind of import is found", () => {
  const source = `
    import "./a.ts";
    import { type A, b } from "./b.ts";
    import type { C } from "./c.ts";
    import {
      d,
    } from './d.ts';
    export * from "./e.ts";
    export type { F } from "./f.ts";
    const g = await import("./g.ts");
    type H = import("./h.ts").H;
    const i = await import(name);
    loader.import(name);
    // import "./comment.ts";
    export const k = "not from './k.ts'";
    const url = new URL("http://l.example/");
  `;
  expect(findImports(source)).toEqual([
    { specifier: "./a.ts", kind: "static" },
    { specifier: "./b.ts", kind: "static" },
    { specifier: "./c.ts", kind: "type" },
    { specifier: "./d.ts", kind: "static" },
    { specifier: "./e.ts", kind: "static" },
    { specifier: "./f.ts", kind: "type" },
    { specifier: "./g.ts", kind: "dynamic" },
    { specifier: "./h.ts", kind: "dynamic" },
    { specifier: "", kind: "dynamic" },
  ]);
});

test("every way to break the rule is caught", () => {
  const bad: Sources = new Map([
    ["main.ts", `import { run } from "./commands/mirror.ts";\nawait import("./commands/mirror.ts");`],
    ["commands/mirror.ts", `import "../mirror/order.ts";`],
    ["mirror/order.ts", `import type { Cache } from "../fileserve/cache.ts";`],
    ["fileserve/cache.ts", `import { join } from "node:path";\nimport "../wire";\nimport "./cache";`],
    ["wire/frame.ts", `import { open } from "node:fs/promises";\nexport * from "../net/dial.ts";`],
    [
      "wire/clock.ts",
      `import { z } from "zod";\n// Date.now() is forbidden\nexport const at = Date.now() + Math.random();`,
    ],
    ["net/dial.ts", `export const load = (name: string) => import(name);`],
    ["disk/index.ts", `import "../../package.json";`],
    ["helpers/text.ts", ""],
  ]);
  expect(importViolations(bad, RULE)).toEqual([
    "main.ts: imports ./commands/mirror.ts at its start: only import() is allowed there",
    "mirror/order.ts: imports ../fileserve/cache.ts: mirror may not import fileserve",
    "fileserve/cache.ts: imports ../wire, which is no source file in src",
    "fileserve/cache.ts: imports ./cache, which is no source file in src",
    "wire/frame.ts: is pure, and imports node:fs/promises",
    "wire/frame.ts: imports ../net/dial.ts: wire may not import net",
    "wire/clock.ts: is pure, and uses Date.now",
    "wire/clock.ts: is pure, and uses Math.random",
    "net/dial.ts: imports a computed name",
    "disk/index.ts: imports ../../package.json, which is no source file in src",
    "disk/index.ts: is an index file",
    "helpers/text.ts: the import rule does not know src/helpers",
  ]);
});
