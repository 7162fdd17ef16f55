import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync, readdirSync } from "node:fs";

export interface DiffOptions {
  /**
   * `compare` (default): symbolic links must be the same on both sides. `left-out`: those of the first
   * tree must be missing from the second, as after a mirror that skips them.
   */
  links?: "compare" | "left-out";
}

/** Doubles carry seconds since 1970 to about a quarter of a microsecond, which utimes may round either way. */
const MTIME_TOLERANCE_NS = 1000n;
const MAX_LINES = 50;

/**
 * What differs between two trees, one line each; empty when they are the same. Contents and targets of
 * links are compared by the real `diff -r`; names, types, sizes, executable bits and mtimes of files (to
 * the microsecond) by our own walk. At most 50 lines of each.
 */
export async function diffTrees(
  expected: string,
  actual: string,
  options: DiffOptions = {},
): Promise<string[]> {
  const leaveOutLinks = options.links === "left-out";
  const metadata = compareMetadata(expected, actual, leaveOutLinks);
  const contents = await diffContents(expected, actual);
  // `diff` has no way to leave out links; what it says about those alone is what the walk has covered.
  const relevant = leaveOutLinks ? contents.filter((line) => !line.startsWith("Only in ")) : contents;
  return [...metadata.slice(0, MAX_LINES), ...relevant.slice(0, MAX_LINES)];
}

async function diffContents(expected: string, actual: string): Promise<string[]> {
  const child = spawn("diff", ["-r", "-q", "--no-dereference", expected, actual], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C" },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      output += text;
    });
  }
  const [code] = (await once(child, "close")) as [number | null];
  const lines = output.split("\n").filter((line) => line !== "");
  if (code !== 0 && lines.length === 0) lines.push(`diff ended with code ${code}`);
  return lines;
}

interface Item {
  type: "file" | "directory" | "link" | "other";
  sizeBytes: bigint;
  mtimeNs: bigint;
  executable: boolean;
}

function compareMetadata(expected: string, actual: string, leaveOutLinks: boolean): string[] {
  const left = walk(expected);
  const right = walk(actual);
  const differences: string[] = [];
  for (const [name, item] of left) {
    if (leaveOutLinks && item.type === "link") continue;
    const other = right.get(name);
    if (other === undefined) differences.push(`${printable(name)}: missing`);
    else differences.push(...compareItems(item, other).map((what) => `${printable(name)}: ${what}`));
  }
  for (const [name, item] of right) {
    const wanted = left.get(name);
    if (wanted === undefined || (leaveOutLinks && wanted.type === "link")) {
      differences.push(`${printable(name)}: should not be there (${item.type})`);
    }
  }
  return differences;
}

function compareItems(expected: Item, actual: Item): string[] {
  if (expected.type !== actual.type) return [`is a ${actual.type}, not a ${expected.type}`];
  if (expected.type !== "file") return [];
  const differences: string[] = [];
  if (expected.sizeBytes !== actual.sizeBytes) {
    differences.push(`has ${actual.sizeBytes} bytes, not ${expected.sizeBytes}`);
  }
  if (expected.executable !== actual.executable) {
    differences.push(actual.executable ? "is executable" : "is not executable");
  }
  const apartNs = expected.mtimeNs - actual.mtimeNs;
  if (apartNs > MTIME_TOLERANCE_NS || apartNs < -MTIME_TOLERANCE_NS) {
    differences.push(`has mtime ${actual.mtimeNs} ns, not ${expected.mtimeNs} ns`);
  }
  return differences;
}

/** Keys are paths as latin1 text, one character a byte, so that names that are not UTF-8 stay distinct. */
function walk(root: string): Map<string, Item> {
  const found = new Map<string, Item>();
  const pathOf = (relative: string): Buffer =>
    Buffer.concat([Buffer.from(`${root}/`), Buffer.from(relative, "latin1")]);
  const visit = (directory: string): void => {
    for (const name of readdirSync(pathOf(directory), { encoding: "buffer" })) {
      const relative = directory + name.toString("latin1");
      const item = describe(pathOf(relative));
      found.set(relative, item);
      if (item.type === "directory") visit(`${relative}/`);
    }
  };
  visit("");
  return found;
}

function describe(path: Buffer): Item {
  const stat = lstatSync(path, { bigint: true });
  const type = stat.isFile()
    ? "file"
    : stat.isDirectory()
      ? "directory"
      : stat.isSymbolicLink()
        ? "link"
        : "other";
  return {
    type,
    sizeBytes: stat.size,
    mtimeNs: stat.mtimeNs,
    executable: (stat.mode & 0o100n) !== 0n,
  };
}

function printable(name: string): string {
  return JSON.stringify(Buffer.from(name, "latin1").toString("utf8"));
}
