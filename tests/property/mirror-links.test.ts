import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { ContainedRoot } from "../../src/disk/contained-root.ts";
import { publishLink, reasonToLink, staysInside } from "../../src/mirror/mirrored-link.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf } from "./error-code.ts";
import { runs } from "./runs.ts";

describe("a link's target", () => {
  test.each([
    ["a", "b"],
    ["a", "."],
    ["a", "b/c"],
    ["d/a", ".."],
    ["d/a", "../"],
    ["d/a", "../b"],
    ["d/e/a", "../../b/./c"],
    ["d/a", "..."],
    ["d/a", "..b/c"],
    ["d/a", "ü 日/..x"],
  ])("%p -> %p stays inside", (path, target) => {
    expect(staysInside(path, target)).toBe(true);
  });

  test.each([
    ["a", ""],
    ["a", "/"],
    ["a", "/etc/passwd"],
    ["a", "//b"],
    ["a", ".."],
    ["a", "../b"],
    ["d/a", "../.."],
    ["d/a", "../../d/a"],
    ["d/e/a", "../../../b"],
    // These may be right as the tree is, but not when another link is on the way.
    ["d/a", "b/../c"],
    ["d/a", "./../c"],
    ["d/e/a", "../b/.."],
    ["d/a", "b/.."],
    ["d/a", "b\0c"],
  ])("%p -> %p does not", (path, target) => {
    expect(staysInside(path, target)).toBe(false);
  });

  test("stays inside whatever other links are there that do", () => {
    using folder = ramFolder(10_000_000);
    const name = fc.constantFrom("a", "b", "c", "d");
    const component = fc.oneof(
      { weight: 3, arbitrary: name },
      { weight: 2, arbitrary: fc.constant("..") },
      { weight: 1, arbitrary: fc.constantFrom(".", "", "outside") },
    );
    const link = fc.record({
      path: fc.array(name, { minLength: 1, maxLength: 3 }).map((components) => components.join("/")),
      target: fc.array(component, { minLength: 1, maxLength: 5 }).map((components) => components.join("/")),
    });
    let round = 0;
    let resolved = 0;
    fc.assert(
      fc.property(fc.array(link, { minLength: 1, maxLength: 15 }), (links) => {
        const base = folder.join(`${round++}`);
        const host = join(base, "h_1");
        fs.mkdirSync(join(base, "outside"), { recursive: true });
        fs.writeFileSync(join(base, "a"), "outside");
        const made = links.filter(
          ({ path, target }) => staysInside(path, target) && tryLink(host, path, target),
        );
        for (const { path } of made) {
          const real = realPathOf(join(host, path));
          if (real === undefined) continue;
          resolved++;
          expect([path, real === host || real.startsWith(`${host}/`)]).toEqual([path, true]);
        }
        fs.rmSync(base, { recursive: true });
      }),
      runs(1_000),
    );
    expect(resolved).toBeGreaterThan(300);
  });
});

/** As the mirror does: below real directories only. */
function tryLink(host: string, path: string, target: string): boolean {
  fs.mkdirSync(host, { recursive: true });
  const root = new ContainedRoot(host);
  try {
    publishLink(root, path.split("/"), target);
    return true;
  } catch {
    return false;
  } finally {
    root.close();
  }
}

function realPathOf(path: string): string | undefined {
  try {
    return fs.realpathSync(path);
  } catch {
    return undefined; // dangling, or in a circle
  }
}

test("a link is made where none is, where another one is, and where a file is; nothing else is left", () => {
  using folder = tempFolder();
  using outside = tempFolder();
  const root = new ContainedRoot(folder.path);
  const components = ["h_1", "docs", "link"];
  const at = folder.join("h_1/docs/link");
  expect(reasonToLink(root, components, "a")).toBe("new");
  publishLink(root, components, "a");
  expect([fs.readlinkSync(at), reasonToLink(root, components, "a")]).toEqual(["a", undefined]);
  expect(reasonToLink(root, components, "b")).toBe("changed");
  publishLink(root, components, "b");
  expect(fs.readlinkSync(at)).toBe("b");
  fs.rmSync(at);
  fs.writeFileSync(at, "a file");
  expect(reasonToLink(root, components, "b")).toBe("changed");
  publishLink(root, components, "ü 日");
  expect(fs.readlinkSync(at)).toBe("ü 日");
  expect(fs.readdirSync(folder.join("h_1/docs"))).toEqual(["link"]);

  fs.rmSync(at);
  fs.mkdirSync(at);
  expect(codeOf(() => publishLink(root, components, "a"))).not.toBe("no error");
  expect(fs.readdirSync(folder.join("h_1/docs"))).toEqual(["link"]);
  fs.symlinkSync(outside.path, folder.join("h_1/out"));
  expect(codeOf(() => publishLink(root, ["h_1", "out", "link"], "a"))).toBe("refused");
  expect(codeOf(() => reasonToLink(root, ["h_1", "out", "link"], "a"))).toBe("refused");
  expect(fs.readdirSync(outside.path)).toEqual([]);
  root.close();
});
