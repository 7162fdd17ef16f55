import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { runDray, startDray } from "../support/process.ts";
import type { Program } from "../support/program.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { type ScriptedConnection, ScriptedSource, type FetchAsked } from "../support/scripted-source.ts";
import { type ContentServer, receiving, sourceText, Stage } from "../support/stage.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { dataFrame, fileFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const STATE_FILES = [".dray/", ".dray/journal.db", ".dray/lock", ".dray/sync-state.json"];

describe.each(["SIGTERM", "SIGINT"] as const)("%s ends idle servers with 0", (signal) => {
  test("content", async () => {
    using folder = tempFolder();
    await using content = startDray(["content", "-p", "0", "-d", folder.path, "--json"]);
    await content.listening();
    expect(await content.stop(signal)).toMatchObject({ code: 0, signal: null, stderr: "" });
  });

  test("mirror, also after an order", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) =>
      makeLargeFile(join(directory, "f"), { seed: 1, sizeBytes: 10 }),
    );
    await stage.order([sourceText(content)]);
    expect(await stage.mirror.stop(signal)).toMatchObject({ code: 0, signal: null });
    expect(await content.program.stop(signal)).toMatchObject({ code: 0, signal: null });
  });
});

/** A file of which half is sent at once, and the rest when it is released. */
class HalfSent {
  readonly first = Buffer.alloc(100_000, "a");
  readonly second = Buffer.alloc(100_000, "b");
  readonly whole = Buffer.concat([this.first, this.second]);
  #release: (() => void)[] = [];
  #isReleased = false;

  start(connection: ScriptedConnection, { id, digest }: FetchAsked): void {
    connection.send(fileFrame(id, { size: this.whole.length }), dataFrame(id, digest, this.first));
    const finish = (): void => connection.finishFile({ id, digest }, [this.first, this.second], 1);
    if (this.#isReleased) finish();
    else this.#release.push(finish);
  }

  release(): void {
    this.#isReleased = true;
    for (const finish of this.#release.splice(0)) finish();
  }
}

describe("a mirror that is stopped while it works", () => {
  async function busy(
    check: (stage: Stage, file: HalfSent, source: ScriptedSource) => Promise<void>,
    grace: string,
  ) {
    const file = new HalfSent();
    using source = new ScriptedSource({
      files: { large: file.whole },
      fetch: (connection, asked) => file.start(connection, asked),
    });
    await using stage = await Stage.open({ flags: ["--grace", grace] });
    await check(stage, file, source);
  }

  test("lets the running order finish within --grace, and takes no other", async () => {
    await busy(async (stage, file, source) => {
      const order = stage.startOrder([sourceText(source)]);
      await receiving(order);
      stage.mirror.kill("SIGTERM");
      const late = await untilRefused(stage, source);
      expect(late).toBe(7);
      file.release();
      expect((await order.finished()).code).toBe(0);
      expect(await stage.mirror.finished()).toMatchObject({ code: 0, signal: null });
      expect(await Bun.file(join(stage.treeOf(source), "large")).text()).toBe(file.whole.toString());
    }, "60s");
  });

  test("gives up what is not done within --grace, and leaves nothing of it", async () => {
    await busy(async (stage, _, source) => {
      const order = stage.startOrder([sourceText(source)], ["--timeout", "1s"]);
      await receiving(order);
      expect(await stage.mirror.stop("SIGTERM")).toMatchObject({ code: 0, signal: null });
      expect((await order.finished()).code).toBe(7);
      expect(namesBelow(stage.mirrorDirectory)).toEqual([...STATE_FILES, `127.0.0.1_${source.port}/`]);
    }, "100ms");
  });

  test("ends at once on a second signal, and the next start cleans up", async () => {
    await busy(async (stage, file, source) => {
      await receiving(stage.startOrder([sourceText(source)]));
      stage.mirror.kill("SIGTERM");
      await untilRefused(stage, source);
      expect((await stage.mirror.stop("SIGINT")).code).toBe(130);
      expect(await Bun.file(join(stage.treeOf(source), "large")).exists()).toBe(false);

      await stage.startMirror();
      await stage.mirror.stderrMatch(/removed 1 unfinished file/);
      const again = stage.startOrder([sourceText(source)]);
      await receiving(again);
      file.release();
      expect((await again.finished()).code).toBe(0);
      // The order that was broken off has gone on by itself.
      await stage.mirror.stderrMatch(/order \w+: 1 files?.*\n(.*\n)*.*order \w+: 1 files?/);
      expect(namesBelow(stage.treeOf(source))).toEqual(["large"]);
    }, "60s");
  });

  test("leaves no temp files among thousands of small ones", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 3000 }, (_, index) => [
        `${index % 20}/file-${index}`,
        Buffer.alloc(20_000, `${index}`),
      ]),
    );
    using source = new ScriptedSource({ files });
    await using stage = await Stage.open({ flags: ["--grace", "0", "-w", "8"] });
    const order = stage.startOrder([sourceText(source)], ["--timeout", "1s"]);
    await source.until(() => (source.fetches.length > 500 ? true : undefined), "500 fetches");
    expect(await stage.mirror.stop("SIGTERM")).toMatchObject({ code: 0 });
    expect((await order.finished()).code).toBe(7);
    const left = namesBelow(stage.treeOf(source)).filter((name) => !name.endsWith("/"));
    expect(left.filter((name) => files[name] === undefined)).toEqual([]);
    expect(left.length).toBeLessThan(3000);

    await stage.startMirror();
    expect((await stage.order([sourceText(source)])).code).toBe(0);
    for (const [name, bytes] of Object.entries(files)) {
      expect(readFileSync(join(stage.treeOf(source), name)).equals(bytes)).toBe(true);
    }
  });
});

/** The exit code of an order that comes after the mirror was told to stop. */
async function untilRefused(stage: Stage, source: ScriptedSource): Promise<number | null> {
  for (;;) {
    const late = await runDray([...stage.orderCommand([sourceText(source, "late")]), "--timeout", "100ms"]);
    if (late.code !== 4) return late.code;
  }
}

describe("a content server that is stopped while it sends", () => {
  /** One large file, of which half has gone over the wire. */
  async function withHalfSent(
    check: (stage: Stage, content: ContentServer, proxy: Proxy, order: Program) => Promise<void>,
  ): Promise<void> {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => {
      makeLargeFile(join(directory, "large"), { seed: 3, sizeBytes: 40_000_000 });
    });
    await using proxy = await startProxy({
      target: { host: "127.0.0.1", port: content.port },
      faults: [{ kind: "stall", atByte: 20_000_000 }],
    });
    const other = await stage.content("other", (directory) => {
      makeManyFiles(directory, { seed: 5, count: 50, directories: 3, minBytes: 1, maxBytes: 5000 });
    });
    const order = stage.startOrder([sourceText(proxy), sourceText(other)], ["--patience", "1s"]);
    await proxy.reached("stall");
    await check(stage, content, proxy, order);
    expect(await diffTrees(other.directory, stage.treeOf(other))).toEqual([]);
  }

  test("finishes what is under way within --grace", async () => {
    await withHalfSent(async (stage, content, proxy, order) => {
      content.program.kill("SIGTERM");
      await refusesConnections(content.port);
      proxy.release();
      expect((await order.finished()).code).toBe(0);
      expect(await content.program.finished()).toMatchObject({ code: 0, signal: null });
      expect(await diffTrees(content.directory, stage.treeOf(proxy))).toEqual([]);
    });
  });

  test("killed for good: the order ends, names it, and nothing partial is visible", async () => {
    await withHalfSent(async (stage, content, proxy, order) => {
      await content.program.stop("SIGKILL");
      proxy.release();
      const { code, events } = await order.finished();
      expect(code).toBe(3);
      expect(events.at(-1)).toMatchObject({
        failures: [{ port: proxy.port, path: "large" }],
        sources: [{ port: proxy.port }, { status: "complete", files: 50 }],
      });
      const part = expect.stringMatching(/^\.dray-part[0-9a-z]+-0\.tmp$/);
      expect(namesBelow(stage.treeOf(proxy))).toEqual([part]);
    });
  });
});

/** Comes back when a server has stopped accepting. */
async function refusesConnections(port: number): Promise<void> {
  for (;;) {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    const isAccepted = await promise;
    socket.destroy();
    if (!isAccepted) return;
  }
}

describe("places that are taken", () => {
  test.each(["content", "mirror"])("a port in use ends %s with 2 and says so", async (command) => {
    await using stage = await Stage.open();
    const directoryFlag = command === "content" ? "-d" : "-m";
    const directory = command === "content" ? stage.folder.path : stage.folder.join("other");
    const args = [command, "-p", String(stage.mirrorPort), directoryFlag, directory, "--json"];
    const { code, stderr, events } = await runDray(args);
    expect(code).toBe(2);
    expect(stderr).toContain(`cannot listen on 127.0.0.1:${stage.mirrorPort}: the port is already in use`);
    expect(events).toMatchObject([{ type: "error", code: "usage" }]);
  });

  test("a directory with a mirror in it refuses a second one with 6", async () => {
    await using stage = await Stage.open();
    const { code, stderr } = await runDray(["mirror", "-p", "0", "-m", stage.mirrorDirectory]);
    expect(code).toBe(6);
    expect(stderr).toContain("another dray is using");

    const content = await stage.content("data", (directory) =>
      makeLargeFile(join(directory, "f"), { seed: 6, sizeBytes: 10 }),
    );
    expect((await stage.order([sourceText(content)])).code).toBe(0);
    await stage.mirror.stop();
    await stage.startMirror();
  });
});
