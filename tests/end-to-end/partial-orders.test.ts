import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { runDray } from "../support/process.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

const DEAD = { port: 1 }; // tcpmux: nobody listens there, and nobody can by accident

function fill(seed: number, count: number): (directory: string) => void {
  return (directory) => {
    makeManyFiles(join(directory, "docs"), { seed, count, directories: 2, minBytes: 0, maxBytes: 50_000 });
  };
}

describe("three servers with delays 0, 1 and 2, one of them dead, and one missing path", () => {
  async function withThreeServers(check: (stage: Stage, sources: string[]) => Promise<void>): Promise<void> {
    await using stage = await Stage.open({ flags: ["-w", "6"] });
    const prompt = await stage.content("prompt", fill(1, 40));
    const slow = await stage.content("slow", fill(2, 4));
    const sources = [
      sourceText(prompt, "docs", 0),
      sourceText(slow, "docs", 1),
      sourceText(DEAD, "docs", 2),
      sourceText(prompt, "no/such/thing", 0),
    ];
    await check(stage, sources);
    for (const content of [prompt, slow]) {
      expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    }
  }

  test("what can be reached arrives, and the result names the rest", async () => {
    await withThreeServers(async (stage, sources) => {
      const { code, result } = await stage.order(sources);
      expect(code).toBe(3);
      expect(result.sources).toMatchObject([
        { path: "docs", status: "complete", files: 40 },
        { path: "docs", status: "complete", files: 4 },
        { port: 1, status: "unreachable", files: 0, error: expect.stringContaining("refused") },
        { path: "no/such/thing", status: "not-found", error: expect.stringContaining("no such file") },
      ]);
      expect(result.files).toBe(44);
    });
  });

  test("the text report names the dead server and the missing path", async () => {
    await withThreeServers(async (stage, sources) => {
      const mirror = ["-m", "127.0.0.1", "-p", String(stage.mirrorPort)];
      const { code, stdout } = await runDray(["initiate", ...mirror, "-s", sources.join(",")]);
      expect(code).toBe(3);
      expect(stdout).toMatch(/^127\.0\.0\.1:1 docs +unreachable .*refused/m);
      expect(stdout).toMatch(/^127\.0\.0\.1:\d+ no\/such\/thing +not found .*no such file or directory/m);
      expect(stdout).toMatch(/^Files +44 \(0 unchanged\)$/m);
    });
  });
});

describe("exit codes of orders that bring nothing", () => {
  test("7 for a dead server", async () => {
    await using stage = await Stage.open();
    const { code, result } = await stage.order([sourceText(DEAD)]);
    expect(code).toBe(7);
    expect(result).toMatchObject({ files: 0, sources: [{ status: "unreachable" }] });
  });

  test("7 for a host name that does not exist", async () => {
    await using stage = await Stage.open();
    const { code, result } = await stage.order(["no-such-host.invalid:9000:.:0"]);
    expect(code).toBe(7);
    expect(result.sources).toMatchObject([{ host: "no-such-host.invalid", status: "unreachable" }]);
  });

  test("4 for a missing path, also below a file", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => writeFileSync(join(directory, "file"), "x"));
    const missing = await stage.order([sourceText(content, "nowhere")]);
    expect(missing.code).toBe(4);
    expect(missing.result.sources).toMatchObject([{ status: "not-found" }]);
    const belowFile = await stage.order([sourceText(content, "file/below")]);
    expect(belowFile.code).toBe(4);
  });

  test("6 for a path that leads out of the root", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => mkdirSync(join(directory, "docs")));
    for (const path of ["../data", "docs/../../data", "/etc"]) {
      const { code, result } = await stage.order([sourceText(content, path)]);
      expect(code).toBe(6);
      expect(result.sources).toMatchObject([{ path, status: "refused" }]);
    }
  });

  test("7 when no mirror is running", async () => {
    const args = ["initiate", "-m", "127.0.0.1", "-p", "1", "-s", sourceText(DEAD), "--timeout", "300ms"];
    const { code, stdout, stderr } = await runDray(args);
    expect(code).toBe(7);
    expect(stdout).toBe("");
    expect(stderr).toContain("Cannot reach the mirror at 127.0.0.1:1");
  });
});

test("a server of another kind is named as such, as a source and as a mirror", async () => {
  await using stage = await Stage.open();
  using web = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("a web server") });
  const good = await stage.content("good", fill(3, 5));

  const order = await stage.order([sourceText({ port: web.port! }), sourceText(good)]);
  expect(order.code).toBe(3);
  expect(order.result.sources).toMatchObject([
    { status: "unreachable", error: expect.stringContaining("not a frame of the dray protocol") },
    { status: "complete", files: 5 },
  ]);

  const asMirror = ["initiate", "-m", "127.0.0.1", "-p", String(web.port), "-s", sourceText(good)];
  const notAMirror = await runDray(asMirror);
  expect(notAMirror.code).toBe(5);
  expect(notAMirror.stderr).toContain(`Cannot reach the mirror at 127.0.0.1:${web.port}`);
});

test("a mirror is no source, and a content server is no mirror: both say so", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", fill(4, 1));
  const asSource = await stage.order([sourceText({ port: stage.mirrorPort })]);
  expect(asSource.code).toBe(6);
  expect(asSource.result.sources).toMatchObject([
    { status: "refused", error: expect.stringMatching(/files/) },
  ]);

  const asMirror = ["initiate", "-m", "127.0.0.1", "-p", String(content.port), "-s", sourceText(content)];
  const { code, stderr } = await runDray(asMirror);
  expect(code).toBe(6);
  expect(stderr).toContain("does not offer mirroring");
});

test("malformed sources are all named, with their reasons, before anything is done", async () => {
  const sources = ["127.0.0.1:9000:docs", "127.0.0.1:high:docs:0", "ok.example:9000:docs:0", ":9000:x:-1"];
  const { code, stderr } = await runDray(["initiate", "-p", "1", "-s", sources.join(",")]);
  expect(code).toBe(2);
  expect(stderr).toContain('item 1 "127.0.0.1:9000:docs": the delay is missing');
  expect(stderr).toContain('item 2 "127.0.0.1:high:docs:0": the port must be a whole number');
  expect(stderr).toContain('item 4 ":9000:x:-1": the host is missing');
  expect(stderr).not.toContain("item 3");
});
