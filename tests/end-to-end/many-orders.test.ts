import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { diffTrees } from "../support/diff.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeManyFiles } from "../support/tree.ts";
import { hello, orderFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

test("many initiators at once each get their own result", async () => {
  await using stage = await Stage.open({ flags: ["-w", "4"] });
  const contents = await Promise.all(
    [1, 2, 3].map((seed) =>
      stage.content(`data-${seed}`, (directory) => {
        const docs = join(directory, "docs");
        makeManyFiles(docs, { seed, count: 40 * seed, directories: 4, minBytes: 0, maxBytes: 40_000 });
        writeFileSync(join(directory, "note"), `note ${seed}`);
      }),
    ),
  );
  // Some want the same files at the same time.
  const orders = Array.from({ length: 12 }, (_, index) => {
    const content = contents[index % 3]!;
    const path = ["docs", ".", "note", "missing"][index % 4]!;
    return { index: index % 3, path, given: stage.order([sourceText(content, path)]) };
  });

  const orderIds = new Set<string>();
  for (const { index, path, given } of orders) {
    const { code, result, events } = await given;
    const docs = 40 * (index + 1);
    orderIds.add(result.orderId);
    expect(events.every((event) => event["orderId"] === result.orderId)).toBe(true);
    expect({ path, code, files: result.files }).toEqual({
      path,
      code: path === "missing" ? 4 : 0,
      files: { docs, ".": docs + 1, note: 1 }[path] ?? 0,
    });
  }
  expect(orderIds.size).toBe(12);
  for (const content of contents) {
    expect(await diffTrees(content.directory, stage.treeOf(content))).toEqual([]);
  }
});

test("an order goes on when its initiator is killed, and the mirror takes the next one", async () => {
  const letGo = Promise.withResolvers<void>();
  using source = new ScriptedSource({
    files: { first: Buffer.from("one"), second: Buffer.from("two") },
    fetch: (connection, asked) => void letGo.promise.then(() => connection.answerFetch(asked)),
  });
  await using stage = await Stage.open();
  const order = stage.startOrder([sourceText(source)]);
  const { orderId } = await order.event("accepted");
  await source.until(() => (source.fetches.length > 0 ? true : undefined), "a fetch");
  expect((await order.stop("SIGKILL")).signal).toBe("SIGKILL");
  letGo.resolve();

  await stage.mirror.stderrMatch(
    new RegExp(`order ${String(orderId)}: 2 files, 0 of them unchanged, 0 failed`),
  );
  const again = await stage.order([sourceText(source)]);
  expect(again.code).toBe(0);
  expect(again.result).toMatchObject({ files: 2, bytes: 6 });
});

test("an initiator that is interrupted says that the order goes on, and it does", async () => {
  const letGo = Promise.withResolvers<void>();
  using source = new ScriptedSource({
    files: { file: Buffer.from("content") },
    fetch: (connection, asked) => void letGo.promise.then(() => connection.answerFetch(asked)),
  });
  await using stage = await Stage.open();
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const order = stage.startOrder([sourceText(source)]);
    await order.event("accepted");
    const left = await order.stop(signal);
    expect(left.code).toBe(code);
    expect(order.stderrText()).toContain("the order goes on");
  }
  letGo.resolve();
  await stage.mirror.stderrMatch(/order \w+: 1 files?.*\n(.*\n)*.*order \w+: 1 files?/);
});

test("an initiator whose mirror is killed says so, with exit code 7", async () => {
  using source = new ScriptedSource({ files: { file: Buffer.from("x") }, fetch: () => {} });
  await using stage = await Stage.open();
  const order = stage.startOrder([sourceText(source)], ["--timeout", "1s"]);
  const { orderId } = await order.event("accepted");
  await source.until(() => (source.fetches.length > 0 ? true : undefined), "a fetch");
  await stage.mirror.stop("SIGKILL");
  const { code, stderr } = await order.finished();
  expect(code).toBe(7);
  expect(stderr).toContain(`Lost sight of order ${String(orderId)}, which goes on`);
  expect(stderr).toContain(`127.0.0.1:${stage.mirrorPort}`);
});

test("an initiator that never reads holds up neither its order nor another one's", async () => {
  const COUNT = 3000;
  const names = Array.from({ length: COUNT }, (_, index) => `${"d".repeat(200)}/`.repeat(10) + index);
  using source = new ScriptedSource({
    list: (connection, asked) =>
      connection.sendList(asked, [
        ...names.map((path) => ({ kind: "unreadable" as const, path })),
        { path: "file", size: 4 },
      ]),
    files: { file: Buffer.from("file") },
  });
  await using stage = await Stage.open();
  const deaf = connect({ port: stage.mirrorPort, host: "127.0.0.1" }).pause();
  const sources = [{ host: "127.0.0.1", port: source.port, path: ".", delayMs: 0 }];
  const order = { sources, attempts: 5, patienceMs: 60_000, include: [], exclude: [] };
  deaf.write(Buffer.concat([hello(), orderFrame(1, JSON.stringify({ do: "give", order }))]));
  await stage.mirror.stderrMatch(/order \w+: 1 files?,.* 3000 failed/);
  expect((await stage.order([sourceText(source, "file")])).code).toBe(3);
  deaf.destroy();
});
