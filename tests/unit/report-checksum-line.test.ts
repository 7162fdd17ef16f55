import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { checksumLine } from "../../src/report/checksum-line.ts";
import { tempFolder } from "../support/temp.ts";

const NAMES = [
  "plain",
  "with space",
  " leading",
  "a\nb",
  "a\rb",
  "a\\b",
  "\\n",
  "tab\there",
  "ümläut:",
  "*star",
  "-dash",
];

test.skipIf(Bun.which("sha256sum") === null)("a line is what sha256sum prints, for every name", () => {
  using folder = tempFolder();
  for (const name of NAMES) {
    writeFileSync(folder.join(name), `contents of ${name}`);
    const hex = new Bun.CryptoHasher("sha256").update(`contents of ${name}`).digest("hex");
    const printed = spawnSync("sha256sum", ["--", name], { cwd: folder.path, encoding: "utf8" }).stdout;
    expect(`${checksumLine(hex, name)}\n`).toBe(printed);
  }
});
