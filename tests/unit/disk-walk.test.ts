import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { walk } from "../../src/disk/walk.ts";
import type { ListEntry } from "../../src/wire/entries.ts";
import { messageBytes } from "../../src/wire/messages.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

let folder: TempFolder;
let root: ContainedRoot;

beforeEach(() => {
  folder = tempFolder();
  root = new ContainedRoot(folder.path);
  for (const path of ["docs/a", "docs/sub/b", "docs2/c", "doc", "docs.txt"]) {
    fs.mkdirSync(folder.join(path, ".."), { recursive: true });
    fs.writeFileSync(folder.join(path), path);
  }
});

afterEach(() => {
  root.close();
  folder[Symbol.dispose]();
});

const paths = (...components: string[]): string[] =>
  [...walk(root, components)].map(({ path }) => path).sort();

describe("a walk", () => {
  test("matches whole components: `docs` is not `docs2`, nor `docs.txt`", () => {
    expect(paths("docs")).toEqual(["docs", "docs/a", "docs/sub", "docs/sub/b"]);
    expect(paths("doc")).toEqual(["doc"]);
    expect(paths("docs", "sub")).toEqual(["docs/sub", "docs/sub/b"]);
  });

  test("of a file is that file, of a link that link, of an empty directory itself", () => {
    fs.symlinkSync("docs", folder.join("link"));
    fs.mkdirSync(folder.join("empty"));
    expect([...walk(root, ["docs", "a"])]).toMatchObject([{ kind: "file", path: "docs/a", size: 6 }]);
    expect([...walk(root, ["link"])]).toMatchObject([{ kind: "symlink", path: "link", size: 0 }]);
    expect([...walk(root, ["empty"])]).toMatchObject([{ kind: "directory", path: "empty", size: 0 }]);
  });

  test("of what is not there is an error at the first step", () => {
    for (const components of [
      ["missing"],
      ["docs", "missing"],
      ["missing", "below"],
      ["docs", "a", "below"],
    ]) {
      expect([components, codeOf(() => walk(root, components).next())]).toEqual([components, "not-found"]);
    }
  });

  test("through a link is refused", () => {
    fs.symlinkSync("docs", folder.join("link"));
    expect(codeOf(() => walk(root, ["link", "a"]).next())).toBe("refused");
  });

  test("leaves out what goes away while it runs, and keeps its descriptors few", () => {
    const walking = walk(root, ["docs"]);
    expect(walking.next().value).toMatchObject({ path: "docs" });
    fs.rmSync(folder.join("docs"), { recursive: true });
    expect([...walking]).toEqual([]);
  });

  test("does not go where a directory became a link while it ran", () => {
    using outside = tempFolder();
    fs.writeFileSync(outside.join("secret"), "");
    const seen: ListEntry[] = [];
    for (const entry of walk(root, [])) {
      seen.push(entry);
      if (entry.path !== "docs" && entry.path !== "docs2") continue;
      fs.rmSync(folder.join(entry.path), { recursive: true });
      fs.symlinkSync(outside.path, folder.join(entry.path));
    }
    expect(seen.map(({ path }) => path).join(" ")).not.toContain("secret");
  });

  test("can be given up in the middle, and costs no descriptor then", () => {
    const before = fs.readdirSync("/proc/self/fd").length;
    const other = new ContainedRoot(folder.path);
    const walking = walk(other, []);
    walking.next();
    walking.next();
    walking.return();
    other.close();
    expect(fs.readdirSync("/proc/self/fd").length).toBe(before);
  });

  test("sees names beyond the system's longest path, and lists what is too long to carry as such", () => {
    const component = "d".repeat(250);
    const components = Array.from({ length: 17 }, () => component); // 4,266 bytes
    root.hold(components.slice(0, 16), true)[Symbol.dispose]();
    using parent = root.hold(components.slice(0, 16));
    fs.writeFileSync(parent.entry("f".repeat(79)), ""); // 16 · 251 + 79 = 4,095 bytes
    fs.writeFileSync(parent.entry("g".repeat(81)), ""); // 4,097
    const below = [...walk(root, [component])];
    const kinds = below.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "directory")).toHaveLength(16);
    expect(kinds.filter((kind) => kind === "file")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "unnameable")).toHaveLength(1);
    for (const entry of below) expect(messageBytes({ type: "entries", entries: [entry] })).toBeLessThan(8192);
  });

  test("of many entries in one directory gives each once", () => {
    fs.mkdirSync(folder.join("many"));
    const names = Array.from({ length: 1000 }, (_, index) => `many/${index}`);
    for (const name of names) fs.writeFileSync(folder.join(name), "");
    expect(paths("many")).toEqual(["many", ...names].sort());
  });
});

describe("names that are not UTF-8", () => {
  const raw = (...bytes: number[]): Buffer =>
    Buffer.concat([Buffer.from(`${folder.path}/docs2/`), Buffer.from(bytes)]);

  test("are shown with different texts, and like no honest name", () => {
    const backslash = 0x5c;
    const [x, f] = Buffer.from("xf");
    fs.writeFileSync(raw(0xff), "");
    fs.writeFileSync(raw(0xff, 0xff), "");
    fs.writeFileSync(raw(backslash, x!, f!, f!, 0xff), "");
    fs.writeFileSync(raw(backslash, x!, f!, f!), ""); // an honest name: \xff
    const shown = [...walk(root, ["docs2"])].map(({ kind, path }) => `${kind} ${path}`);
    expect(new Set(shown).size).toBe(shown.length);
    expect(shown.filter((text) => text.startsWith("unnameable")).sort()).toEqual([
      "unnameable docs2/\\\\xff\\xff",
      "unnameable docs2/\\xff",
      "unnameable docs2/\\xff\\xff",
    ]);
    expect(shown).toContain("file docs2/\\xff");
  });

  test("do not hide what is beside them, and a directory of such a name is one entry", () => {
    fs.mkdirSync(raw(0xff));
    fs.writeFileSync(Buffer.concat([raw(0xff), Buffer.from("/inside")]), "");
    fs.writeFileSync(folder.join("docs2/\uFFFD"), "");
    const kinds = [...walk(root, ["docs2"])].map(({ kind, path }) => `${kind} ${path}`).sort();
    expect(kinds).toEqual(["directory docs2", "file docs2/c", "file docs2/\uFFFD", "unnameable docs2/\\xff"]);
  });
});

test("a directory that may not be read is listed, and again as unreadable", () => {
  for (const path of ["open", "closed", "blind"]) fs.mkdirSync(folder.join(path));
  for (const path of ["open/a", "closed/a", "blind/a"]) fs.writeFileSync(folder.join(path), "");
  fs.chmodSync(folder.path, 0o755);
  fs.chmodSync(folder.join("closed"), 0o000);
  fs.chmodSync(folder.join("blind"), 0o444); // names can be read, but nothing can be looked at
  const listing = process.getuid?.() === 0 ? listedByNobody() : [...walk(root, [])];
  if (listing === undefined) return;
  const kinds = listing
    .map(({ kind, path }) => `${kind} ${path}`)
    .filter((text) => /open|closed|blind/.test(text));
  expect(kinds.sort()).toEqual(
    [
      "directory open",
      "file open/a",
      "directory closed",
      "unreadable closed",
      "directory blind",
      ...(kinds.includes("unreadable blind") ? ["unreadable blind"] : ["unreadable blind/a"]),
    ].sort(),
  );
  fs.chmodSync(folder.join("closed"), 0o755);
});

/** Root may read everything: somebody else has to try. Undefined where that cannot be arranged. */
function listedByNobody(): ListEntry[] | undefined {
  const modules = ["disk/contained-root.ts", "disk/walk.ts"].map(
    (path) => `${import.meta.dir}/../../src/${path}`,
  );
  const script = `
    const { ContainedRoot } = await import(${JSON.stringify(modules[0])});
    const { walk } = await import(${JSON.stringify(modules[1])});
    console.log(JSON.stringify([...walk(new ContainedRoot(${JSON.stringify(folder.path)}), [])]));`;
  const args = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, "-e", script];
  const child = spawnSync("setpriv", args, { encoding: "utf8", cwd: "/" });
  return child.status === 0 ? (JSON.parse(child.stdout) as ListEntry[]) : undefined;
}
