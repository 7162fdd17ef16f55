import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { HeldSource } from "../support/held-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { errorFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(60_000);

/** Codes on the wire. */
const CHANGED = 6;
const REFUSED = 9;

function ordersOf(stage: Stage): MirrorOrders {
  return new MirrorOrders({ port: stage.mirrorPort });
}

const files = { a: Buffer.from("one"), b: Buffer.from("two") };

describe("--list", () => {
  test("of a mirror without orders is empty", async () => {
    await using stage = await Stage.open();
    const orders = ordersOf(stage);
    expect(await orders.list()).toEqual([]);
    expect(await orders.ask(["--list"])).toMatchObject({ code: 0, stdout: "" });
  });

  test("tells what every order is for, where it stands, and what came of it", async () => {
    using held = new HeldSource(files);
    await using stage = await Stage.open();
    const orders = ordersOf(stage);
    const content = await stage.content("data", (directory) => Bun.write(`${directory}/docs/x`, "12345"));
    const before = Date.now();
    const done = await stage.order([sourceText(content, "docs")]);
    const running = stage.startOrder([sourceText(held), sourceText(content, "nothing")]);
    await held.asked();

    const [first, second, ...others] = await orders.list();
    expect(others).toEqual([]);
    expect(first).toMatchObject({
      orderId: done.result.orderId,
      state: "done",
      sources: [{ host: "127.0.0.1", port: content.port, path: "docs" }],
      last: { files: 1, bytes: 5, failed: 0 },
    });
    expect(second).toMatchObject({ state: "running", sources: [{ path: "." }, { path: "nothing" }] });
    expect(second).not.toHaveProperty("last");
    expect(second!.createdMs).toBeGreaterThanOrEqual(first!.createdMs);
    expect(first!.createdMs).toBeGreaterThanOrEqual(before - 1);

    const { code, stdout } = await orders.ask(["--list"]);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain(`${first!.orderId}  done, last run: 1 file`);
    expect(lines[0]).toContain(`127.0.0.1:${content.port} docs`);
    expect(lines[1]).toContain(`${second!.orderId}  running`);
    held.letGo();
    expect((await running.finished()).code).toBe(3);
  });
});

describe("an order that nobody knows", () => {
  test.each(["--follow", "--cancel", "--retry-failed"])("%s ends with 4 and names it", async (flag) => {
    await using stage = await Stage.open();
    const plain = await ordersOf(stage).ask([flag, "0bad1dea"]);
    expect(plain).toMatchObject({ code: 4, stdout: "" });
    expect(plain.stderr).toContain("there is no order 0bad1dea");
    const json = await ordersOf(stage).ask([flag, "0bad1dea", "--json"]);
    expect(json.code).toBe(4);
    expect(json.events).toMatchObject([{ type: "error", code: "not-found" }]);
    expect(json.stdout).toContain("there is no order 0bad1dea");
  });
});

test("only one thing can be asked at a time", async () => {
  await using stage = await Stage.open();
  const { code, stderr } = await ordersOf(stage).ask(["--list", "--cancel", "x"]);
  expect(code).toBe(2);
  expect(stderr).toContain("--list");
  expect(stderr).toContain("--cancel");
});

describe("--follow", () => {
  test("of a running order tells what happens from here on, and its result", async () => {
    using held = new HeldSource(files);
    await using stage = await Stage.open();
    const initiator = stage.startOrder([sourceText(held)]);
    const { orderId } = await initiator.event("accepted");
    await held.asked();
    const follower = ordersOf(stage).start("--follow", String(orderId));
    expect(await follower.event("accepted")).toEqual({ type: "accepted", orderId });
    held.letGo();
    const [given, followed] = [await initiator.finished(), await follower.finished()];
    expect([given.code, followed.code]).toEqual([0, 0]);
    expect(resultOf(followed)).toEqual(resultOf(given));
    expect(followed.events.some(({ type }) => type === "source")).toBe(true);
  });

  test("of a finished order gives its result and its exit code again", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => Bun.write(`${directory}/docs/x`, "12345"));
    const sources = [sourceText(content, "docs"), sourceText(content, "missing")];
    for (const [ordered, code] of [
      [sources, 3],
      [sources.slice(0, 1), 0],
      [sources.slice(1), 4],
    ] as const) {
      const given = await stage.order([...ordered]);
      const json = await ordersOf(stage).ask(["--follow", given.result.orderId, "--json"]);
      expect([given.code, json.code]).toEqual([code, code]);
      expect(json.events).toEqual([given.result]);
      const plain = await ordersOf(stage).ask(["--follow", given.result.orderId]);
      expect(plain.code).toBe(code);
      expect(plain.stdout).toContain(ordered.length === 1 && code === 4 ? "not found" : "docs");
    }
  });
});

describe("--cancel", () => {
  test("of a running order stops it, and everybody who follows learns it", async () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`file-${index}`, files.a]));
    using held = new HeldSource(many);
    await using stage = await Stage.open({ flags: ["-w", "2"] });
    const orders = ordersOf(stage);
    const initiator = stage.startOrder([sourceText(held)]);
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    const follower = orders.start("--follow", orderId);
    await follower.event("accepted");
    await held.asked();

    const cancel = await orders.ask(["--cancel", orderId, "--json"]);
    expect(cancel).toMatchObject({ code: 0, events: [{ type: "cancelled", orderId }] });
    for (const program of [initiator, follower]) {
      const { code, events } = await program.finished();
      expect(code).toBe(3);
      expect(events.at(-1)).toEqual({ type: "cancelled", orderId });
    }
    expect(await orders.state(orderId)).toBe("cancelled");

    // What was asked for may still come; the mirror is free for the next order, and asks for nothing more.
    const asked = held.source.fetches.length;
    held.letGo();
    const content = await stage.content("data", (directory) => Bun.write(`${directory}/x`, "x"));
    expect((await stage.order([sourceText(content)])).code).toBe(0);
    expect(held.source.fetches.length).toBe(asked);
    expect(asked).toBeLessThan(300);
  });

  test("says so in words, too", async () => {
    using held = new HeldSource(files);
    await using stage = await Stage.open();
    const given = ordersOf(stage).ask(["-s", sourceText(held)]);
    await held.asked();
    const [{ orderId }] = (await ordersOf(stage).list()) as unknown as [{ orderId: string }];
    const cancel = await ordersOf(stage).ask(["--cancel", orderId]);
    expect(cancel.code).toBe(0);
    expect(cancel.stdout + cancel.stderr).toContain(`Order ${orderId} cancelled`);
    const { code, stderr, stdout } = await given;
    expect(code).toBe(3);
    expect(stdout + stderr).toContain(`Order ${orderId} cancelled`);
  });

  test("is refused for what has ended, and a cancelled order cannot be retried or followed", async () => {
    using held = new HeldSource(files);
    await using stage = await Stage.open();
    const orders = ordersOf(stage);
    const content = await stage.content("data", (directory) => Bun.write(`${directory}/x`, "x"));
    const done = await stage.order([sourceText(content)]);
    expect((await orders.ask(["--cancel", done.result.orderId])).code).toBe(6);

    const initiator = stage.startOrder([sourceText(held)]);
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    expect((await orders.ask(["--cancel", orderId])).code).toBe(0);
    for (const [flag, code] of [
      ["--cancel", 6],
      ["--retry-failed", 6],
      ["--follow", 4],
    ] as const) {
      const refused = await orders.ask([flag, orderId]);
      expect(refused.code).toBe(code);
      expect(refused.stderr).toContain(`order ${orderId}`);
      expect(refused.stderr).toContain("cancelled");
    }
  });

  test("while the source is being listed, ends the listing", async () => {
    using source = new ScriptedSource({ list: () => {} });
    await using stage = await Stage.open();
    const initiator = stage.startOrder([sourceText(source)]);
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await source.until(() => source.connections[0], "a connection");
    expect((await ordersOf(stage).ask(["--cancel", orderId])).code).toBe(0);
    expect((await initiator.finished()).code).toBe(3);
    await source.until(() => source.connections[0]!.isClosed || undefined, "the end of the listing");
  });
});

describe("--retry-failed", () => {
  test("tries what failed and nothing else", async () => {
    let isBroken = true;
    using source = new ScriptedSource({
      files: { good: Buffer.from("good"), bad: Buffer.from("was bad"), worse: Buffer.from("was worse") },
      fetch: (connection, asked) => {
        if (isBroken && asked.path !== "good") connection.send(errorFrame(asked.id, REFUSED, "not now"));
        else connection.answerFetch(asked);
      },
    });
    await using stage = await Stage.open();
    const orders = ordersOf(stage);
    const first = await stage.order([sourceText(source)]);
    expect(first.code).toBe(3);
    expect(first.result.failures.map(({ path, code }) => `${path} ${code}`).sort()).toEqual([
      "bad refused",
      "worse refused",
    ]);
    const { orderId } = first.result;

    // In vain: they fail again, and can be retried again.
    const vain = await orders.ask(["--retry-failed", orderId, "--json"]);
    expect(vain.code).toBe(3);
    expect(resultOf(vain)).toMatchObject({ orderId, files: 0, failed: 2 });

    isBroken = false;
    const asked = source.fetches.length;
    const again = await orders.ask(["--retry-failed", orderId, "--json"]);
    expect(again.code).toBe(0);
    expect(again.events[0]).toEqual({ type: "accepted", orderId });
    expect(resultOf(again)).toMatchObject({ orderId, files: 2, bytes: 16, bytesTransferred: 16, failed: 0 });
    expect(
      source.fetches
        .slice(asked)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(["bad", "worse"]);
    expect(await orders.state(orderId)).toBe("done");

    // Now there is nothing left to try.
    const nothing = await orders.ask(["--retry-failed", orderId]);
    expect(nothing.code).toBe(0);
    expect(source.fetches).toHaveLength(asked + 2);
  });

  test("of a running order is refused", async () => {
    using held = new HeldSource(files);
    await using stage = await Stage.open();
    const initiator = stage.startOrder([sourceText(held)]);
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    const { code, stderr } = await ordersOf(stage).ask(["--retry-failed", orderId]);
    expect(code).toBe(6);
    expect(stderr).toContain("still running");
    held.letGo();
    expect((await initiator.finished()).code).toBe(0);
  });

  test("of something that the source could not read asks it whether it can now", async () => {
    let isReadable = false;
    using source = new ScriptedSource({
      files: { good: Buffer.from("good"), secret: Buffer.from("no longer") },
      list: (connection, asked) =>
        connection.sendList(asked, [
          { path: "good", size: 4 },
          isReadable ? { path: "secret", size: 9 } : { path: "secret", kind: "unreadable" },
        ]),
    });
    await using stage = await Stage.open();
    const first = await stage.order([sourceText(source)]);
    expect(first.result.failures).toMatchObject([{ path: "secret", code: "refused" }]);
    isReadable = true;
    const again = await ordersOf(stage).ask(["--retry-failed", first.result.orderId, "--json"]);
    expect(again.code).toBe(0);
    expect(await Bun.file(`${stage.treeOf(source)}/secret`).text()).toBe("no longer");
    expect(source.fetches.map(({ path }) => path)).toEqual(["good", "secret"]);
  });

  test("of a source that could not be listed lists it", async () => {
    await using stage = await Stage.open();
    const content = await stage.content("data", (directory) => Bun.write(`${directory}/x`, "x"));
    const first = await stage.order([sourceText(content, "docs"), sourceText(content, "x")]);
    expect(first.code).toBe(3);
    await Bun.write(`${content.directory}/docs/y`, "later");
    const again = await ordersOf(stage).ask(["--retry-failed", first.result.orderId, "--json"]);
    expect(again.code).toBe(0);
    expect(resultOf(again).sources.map(({ status, files }) => [status, files])).toEqual([
      ["complete", 1],
      ["complete", 0],
    ]);
    expect(await Bun.file(`${stage.treeOf(content)}/docs/y`).text()).toBe("later");
  });
});

describe("--attempts", () => {
  test.each([1, 3])("%d: so often is a file tried that fails in a way that may pass", async (attempts) => {
    using source = new ScriptedSource({
      files: { flaky: Buffer.from("x"), good: Buffer.from("good") },
      fetch: (connection, asked) => {
        if (asked.path === "flaky") connection.send(errorFrame(asked.id, CHANGED, "it changed"));
        else connection.answerFetch(asked);
      },
    });
    await using stage = await Stage.open();
    const { code, result } = await stage.order([sourceText(source)], {
      flags: ["--attempts", String(attempts)],
    });
    expect(code).toBe(3);
    expect(result).toMatchObject({ files: 1, failed: 1, failures: [{ path: "flaky", code: "changed" }] });
    expect(source.fetches.filter(({ path }) => path === "flaky")).toHaveLength(attempts);
  });
});
