/**
 * Plain Node: makes sure that `bun` in node_modules/.bin is the real thing.
 *
 * The npm package `bun` moves its binary into place in a postinstall script. Where npm does not run
 * such scripts (`--ignore-scripts`, or a version that blocks them) a stub stays behind that only
 * prints an error. The binary itself is there all the same, in the platform's own package, so the
 * script that npm left out can be run now. It costs nothing when there is nothing to do.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const STUB_MAX_BYTES = 64 * 1024;

const manifestPath = createRequire(import.meta.url).resolve("bun/package.json");
const folder = dirname(manifestPath);
const command = join(folder, JSON.parse(readFileSync(manifestPath, "utf8")).bin.bun);

if (statSync(command).size <= STUB_MAX_BYTES) {
  execFileSync(process.execPath, ["install.js"], { cwd: folder, stdio: "inherit" });
}
