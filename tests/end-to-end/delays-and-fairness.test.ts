import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import type { DrayEvent } from "../support/program.ts";
import { type ScriptedConnection, ScriptedSource, type FetchAsked } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(120_000);

function fileList(count: number): Record<string, Uint8Array> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`file-${index}`, Buffer.from(`content ${index}`)]),
  );
}

/** Holds every answer until it is let go, as a server does that waits for a delay. */
class Holder {
  readonly held: { connection: ScriptedConnection; asked: FetchAsked }[] = [];
  most = 0;
  isOpen = false;

  fetch(connection: ScriptedConnection, asked: FetchAsked): void {
    if (this.isOpen) return connection.answerFetch(asked);
    this.held.push({ connection, asked });
    this.most = Math.max(this.most, this.held.length);
  }

  /** Answers what is waiting, and what comes later if `isOpen`. */
  release(isOpen: boolean): void {
    this.isOpen = isOpen;
    for (const { connection, asked } of this.held.splice(0)) connection.answerFetch(asked);
  }
}

function indexOfSource(events: readonly DrayEvent[], port: number): number {
  return events.findIndex((event) => event.type === "source" && event.port === port);
}

describe("delays overlap", () => {
  test("with 10 workers and 50 delayed files, ten wait at once, five times", async () => {
    const holder = new Holder();
    using source = new ScriptedSource({
      files: fileList(50),
      fetch: (connection, asked) => holder.fetch(connection, asked),
    });
    await using stage = await Stage.open({ flags: ["-w", "10"] });
    const order = stage.startOrder([sourceText(source, ".", 1)]);
    for (let round = 1; round <= 5; round++) {
      await source.until(() => (holder.held.length === 10 ? true : undefined), `ten at once, round ${round}`);
      holder.release(false);
    }
    const { code } = await order.finished();
    expect(code).toBe(0);
    expect(holder.most).toBe(10);
    expect(source.fetches.map(({ delayMs }) => delayMs)).toEqual(Array<number>(50).fill(1000));
    expect(new Set(source.fetches.map(({ path }) => path)).size).toBe(50);
  });

  test("a content server waits for many files at the same time", async () => {
    await using stage = await Stage.open({ flags: ["-w", "10"] });
    const content = await stage.content("data", (directory) => {
      makeManyFiles(directory, { seed: 1, count: 50, directories: 1, minBytes: 1, maxBytes: 100 });
    });
    const { code, result } = await stage.order([sourceText(content, ".", 0.4)]);
    expect(code).toBe(0);
    expect(result.durationMs).toBeGreaterThanOrEqual(5 * 400);
    expect(result.durationMs).toBeLessThan((50 * 400) / 2);
  });
});

describe("a slow source holds up no other", () => {
  test.each([1, 2, 3, 4])("a delayed one with -w %d", async (workers) => {
    await using stage = await Stage.open({ flags: ["-w", String(workers)] });
    const slow = await stage.content("slow", (directory) => {
      for (let index = 0; index < 6 + 2 * workers; index++)
        writeFileSync(join(directory, `${index}`), "slow");
    });
    const prompt = await stage.content("prompt", (directory) => {
      makeManyFiles(directory, { seed: 2, count: 150, directories: 3, minBytes: 1, maxBytes: 5000 });
    });
    const { code, events } = await stage.order([sourceText(slow, ".", 0.3), sourceText(prompt)]);
    expect(code).toBe(0);
    expect(indexOfSource(events, prompt.port)).toBeLessThan(indexOfSource(events, slow.port));
    for (const content of [slow, prompt]) {
      expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
    }
  });

  test.each([2, 3, 4])("one that does not answer at all with -w %d", async (workers) => {
    const holder = new Holder();
    using stuck = new ScriptedSource({
      files: fileList(200),
      fetch: (connection, asked) => holder.fetch(connection, asked),
    });
    await using stage = await Stage.open({ flags: ["-w", String(workers)] });
    const prompt = await stage.content("prompt", (directory) => {
      makeManyFiles(directory, { seed: 3, count: 500, directories: 3, minBytes: 1, maxBytes: 5000 });
    });
    const order = stage.startOrder([sourceText(stuck), sourceText(prompt)]);
    await order.waitFor((event) => event.type === "source" && event.port === prompt.port);
    expect(indexOfSource(order.events, stuck.port)).toBe(-1);
    expect(await diffTrees(prompt.directory, stage.treeOf(prompt))).toEqual([]);
    holder.release(true);
    expect((await order.finished()).code).toBe(0);
  });

  test("one that is slow to be listed", async () => {
    let answer: (() => void) | undefined;
    using slow = new ScriptedSource({
      files: fileList(3),
      list: (connection, asked) => {
        answer = () => connection.answerList(asked);
      },
    });
    await using stage = await Stage.open({ flags: ["-w", "1"] });
    const prompt = await stage.content("prompt", (directory) => {
      makeManyFiles(directory, { seed: 4, count: 20, directories: 1, minBytes: 1, maxBytes: 5000 });
    });
    const order = stage.startOrder([sourceText(slow), sourceText(prompt)]);
    await order.waitFor((event) => event.type === "source" && event.port === prompt.port);
    expect(indexOfSource(order.events, slow.port)).toBe(-1);
    const list = await slow.until(() => answer, "the request for a list");
    list();
    expect((await order.finished()).code).toBe(0);
  });

  test("one of an earlier order that has all the workers and much more to do", async () => {
    let answersLeft = 0;
    const holder = new Holder();
    using busy = new ScriptedSource({
      files: fileList(3000),
      fetch: (connection, asked) => {
        if (answersLeft-- > 0) connection.answerFetch(asked);
        else holder.fetch(connection, asked);
      },
    });
    await using stage = await Stage.open({ flags: ["-w", "2"] });
    const first = stage.startOrder([sourceText(busy)]);
    // The first connection is the one that lists; the others are the workers'.
    await busy.until(() => (busy.connections.length === 3 ? true : undefined), "both workers at the source");

    const content = await stage.content("data", (directory) => writeFileSync(join(directory, "file"), "x"));
    const second = stage.startOrder([sourceText(content)]);
    await second.waitFor(isListed, { what: "a listed second order" });
    answersLeft = 1000;
    holder.release(false);
    expect((await second.finished()).code).toBe(0);

    holder.release(true);
    expect((await first.finished({ timeoutMs: 60_000 })).code).toBe(0);
  });
});

function isListed(event: DrayEvent): boolean {
  if (event.type === "result") return true;
  if (event.type !== "progress") return false;
  return (event as unknown as { sources: { listComplete: boolean }[] }).sources[0]?.listComplete === true;
}
