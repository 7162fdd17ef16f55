import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path/posix";
import { findImports } from "../support/import-rule.ts";

const src = join(import.meta.dir, "../../src");

/** The cores reach the world through ports alone; the ports of this machine are in these files. */
const IS_REAL = /^sync\/real-[a-z-]+\.ts$/;

/** Pure by their own rule (wire), without anything that happens (errors), or looked at like the cores. */
const PURE = /^(?:wire\/|errors\/|net\/(?:backoff|address)\.ts$)/;

const IMPURE_MODULE =
  /^(?:bun(?::.*)?|(?:node:)?(?:fs|net|tls|dgram|dns|http|https|http2|child_process|worker_threads|cluster|os|process|crypto|timers|perf_hooks|v8|vm)(?:\/.*)?)$/;

const IMPURE_CODE =
  /\b(?:Date\.now|new Date\(\)|Date\(\)|Math\.random|performance\b|process\.|set(?:Timeout|Interval|Immediate)\b|queueMicrotask|fetch\(|crypto\.|new Worker|Atomics\.wait|Bun\.(?!CryptoHasher|hash|Glob)\w+|console\.\w+)/g;

/** What is wrong in one source file of src/sync. */
export function impurities(path: string, source: string): string[] {
  const code = source.replaceAll(/^\s*(?:\/\/|\/\*|\*).*$/gm, "");
  const imported = findImports(source).flatMap(({ specifier, kind }) => {
    if (!specifier.startsWith(".")) return IMPURE_MODULE.test(specifier) ? [`imports ${specifier}`] : [];
    const target = normalize(`${dirname(path)}/${specifier}`);
    const isFine =
      kind === "type" || PURE.test(target) || (target.startsWith("sync/") && !IS_REAL.test(target));
    return isFine ? [] : [`imports ${target}`];
  });
  const used = [...code.matchAll(IMPURE_CODE)].map(([text]) => `uses ${text}`);
  return [...imported, ...used].map((problem) => `${path}: ${problem}`);
}

test("nothing in src/sync but its real ports reaches a clock, a timer, randomness, files or sockets", () => {
  const paths = [...new Bun.Glob("sync/**/*.ts").scanSync(src)].filter((path) => !IS_REAL.test(path)).sort();
  expect(paths).toContain("sync/publication.ts");
  paths.push("net/backoff.ts", "net/address.ts");
  expect(paths.flatMap((path) => impurities(path, readFileSync(join(src, path), "utf8")))).toEqual([]);
});

test("every way out is noticed", () => {
  const source = `
    import { readFileSync } from "node:fs";
    import { randomBytes } from "crypto";
    import { openRealPorts } from "../real-ports.ts";
    import { dial } from "../../net/dial.ts";
    import type { Connection } from "../../net/connection.ts";
    import { DrayError } from "../../errors/dray-error.ts";
    // Date.now() in a comment
    const at = Date.now() + performance.now() + Math.random() + new Date().getTime();
    setTimeout(() => {}, 5);
    const file = Bun.file("x");
    const fine = new Bun.CryptoHasher("md5");
    const also = new Date(atMs).toISOString();
    process.platform;
  `;
  expect(
    impurities("sync/server/x.ts", source).map((line) => line.replace("sync/server/x.ts: ", "")),
  ).toEqual([
    "imports node:fs",
    "imports crypto",
    "imports sync/real-ports.ts",
    "imports net/dial.ts",
    "uses Date.now",
    "uses performance",
    "uses Math.random",
    "uses new Date()",
    "uses setTimeout",
    "uses Bun.file",
    "uses process.",
  ]);
});
