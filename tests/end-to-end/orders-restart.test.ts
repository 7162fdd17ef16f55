import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { diffTrees } from "../support/diff.ts";
import { namesBelow } from "../support/files-below.ts";
import { HeldSource } from "../support/held-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { startProxy } from "../support/proxy.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";

setDefaultTimeout(60_000);

const SIGNALS = ["SIGKILL", "SIGTERM"] as const;
const files = { a: Buffer.from("one"), b: Buffer.from("two") };

describe.each(SIGNALS)("a mirror that is ended by %s", (signal) => {
  test("while an order runs goes on with it, and the initiator finds it again", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(held));
    const { orderId } = await initiator.event("accepted");
    await held.asked();
    const exit = await mirror.stop(signal);
    expect(exit).toEqual(signal === "SIGKILL" ? { ...exit, signal } : { ...exit, code: 0 });
    expect(namesBelow(folder.path).filter((name) => name.includes("_") && name.endsWith(".tmp"))).toEqual([]);

    await mirror.start();
    await mirror.program.stderrMatch(new RegExp(`order ${String(orderId)}: going on`));
    const accepted = { type: "accepted", orderId };
    await initiator.waitFor(
      (event) => event === initiator.events.filter(({ type }) => type === "accepted")[1],
      {
        what: "the order, found again",
      },
    );
    held.letGo();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ orderId, files: 2, bytes: 6, failed: 0 });
    expect(finished.events.filter(({ type }) => type === "accepted")).toEqual([accepted, accepted]);
  });

  test("with many orders goes on with all of them", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    makeManyFiles(folder.join("data"), { seed: 1, count: 60, directories: 4, minBytes: 0, maxBytes: 9000 });
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0", "-w", "3"]);
    const orders = new MirrorOrders(mirror);
    const initiators = Array.from({ length: 6 }, (_, index) =>
      orders.start("-s", index % 2 === 0 ? sourceText(held) : sourceText(content, ".", 0.02)),
    );
    await Promise.all(initiators.map((initiator) => initiator.event("accepted")));
    await held.asked();
    await mirror.stop(signal);
    held.letGo();
    await mirror.start();
    for (const [index, initiator] of initiators.entries()) {
      const finished = await initiator.finished();
      expect(finished.code).toBe(0);
      expect(resultOf(finished)).toMatchObject({ files: index % 2 === 0 ? 2 : 60, failed: 0 });
    }
    expect(await diffTrees(content.directory, folder.join("mirror", `127.0.0.1_${content.port}`))).toEqual(
      [],
    );
    expect((await orders.list()).map(({ state }) => state)).toEqual(Array(6).fill("done"));
  });

  test("while a source is being listed lists it anew", async () => {
    let isHolding = true;
    using source = new ScriptedSource({
      files,
      list: (connection, asked) => {
        if (!isHolding) connection.answerList(asked);
      },
    });
    using folder = tempFolder();
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(source));
    await initiator.event("accepted");
    await source.until(() => source.connections[0], "the listing");
    await mirror.stop(signal);
    isHolding = false;
    await mirror.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 2, failed: 0 });
  });

  test("while one of many files comes still counts those that had not changed, and asks for no other list", async () => {
    const versions: Record<string, Uint8Array> = { ...files, c: Buffer.from("three") };
    let isHolding = false;
    let lists = 0;
    using source = new ScriptedSource({
      files: versions,
      list: (connection, asked) => {
        lists++;
        connection.answerList(asked);
      },
      fetch: (connection, asked) => {
        if (!isHolding) connection.answerFetch(asked);
      },
    });
    using folder = tempFolder();
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]);
    const orders = new MirrorOrders(mirror);
    const first = await orders.ask(["-s", sourceText(source), "--json"]);
    expect(resultOf(first)).toMatchObject({ files: 3, unchanged: 0, bytes: 11 });
    versions["b"] = Buffer.from("longer");
    isHolding = true;
    const initiator = orders.start("-s", sourceText(source));
    const isListed = (event: Record<string, unknown>): boolean =>
      (event["sources"] as { listComplete: boolean }[] | undefined)?.[0]?.listComplete === true;
    await initiator.waitFor(isListed, { what: "the complete list" });
    await mirror.stop(signal);
    isHolding = false;
    await mirror.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({
      ...{ files: 3, unchanged: 2, failed: 0, bytes: 14, bytesTransferred: 6 },
      ...{ sizeMean: 14 / 3, sizeVariance: expect.closeTo(14 / 9) as number },
    });
    expect(lists).toBe(2);
  });

  test("in the moment in which it accepts an order has it", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(held));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await mirror.stop(signal);
    await initiator.stop("SIGKILL");
    held.letGo();
    await mirror.start();
    const followed = await orders.ask(["--follow", orderId, "--json"]);
    expect(followed.code).toBe(0);
    expect(resultOf(followed)).toMatchObject({ orderId, files: 2 });
  });

  test("goes on with what it has of a large file", async () => {
    using folder = tempFolder();
    const sizeBytes = 12 * 1024 * 1024;
    makeLargeFile(folder.join("data/large"), { seed: 1, sizeBytes });
    await using content = await SteadyServer.content(folder.join("data"));
    const faults = [{ kind: "throttle", bytesPerSecond: 12 * 1024 * 1024 }] as const;
    await using proxy = await startProxy({ target: content, faults });
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(proxy));
    const bytesOf = (event: Record<string, unknown>): number => Number(event["bytesTransferred"] ?? 0);
    await initiator.waitFor((event) => bytesOf(event) > 4 * 1024 * 1024, { what: "4 MiB" });
    await mirror.stop(signal);
    await mirror.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 1, bytes: sizeBytes, failed: 0 });
    expect(await diffTrees(content.directory, folder.join("mirror", `127.0.0.1_${proxy.port}`))).toEqual([]);
    const sent = proxy.connections.reduce((sum, { bytesToClient }) => sum + bytesToClient, 0);
    expect(sent).toBeLessThan(sizeBytes + 2 * 1024 * 1024);
  });

  test("has forgotten nothing of what was done before", async () => {
    using folder = tempFolder();
    await Bun.write(folder.join("data/x"), "x");
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(folder.join("mirror"));
    const orders = new MirrorOrders(mirror);
    const given = await orders.ask(["-s", `${sourceText(content)},${sourceText(content, "y")}`, "--json"]);
    expect(given.code).toBe(3);
    const before = await orders.list();
    await mirror.stop(signal);
    await mirror.start();
    expect(await orders.list()).toEqual(before);
    const followed = await orders.ask(["--follow", resultOf(given).orderId, "--json"]);
    expect(followed.code).toBe(3);
    expect(resultOf(followed)).toEqual(resultOf(given));
  });
});

describe("a mirror that is asked to end", () => {
  test("finishes within --grace what is running, and its initiator gets the result", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "30s"]);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(held));
    await initiator.event("accepted");
    await held.asked();
    mirror.program.kill("SIGTERM");
    held.letGo();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 2, failed: 0 });
    expect((await mirror.program.finished()).code).toBe(0);
  });

  test("while an order waits for its next run, ends at once", async () => {
    using folder = tempFolder();
    await Bun.write(folder.join("data/x"), "x");
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--grace", "1h"]);
    const orders = new MirrorOrders(mirror);
    expect((await orders.ask(["-s", sourceText(content), "--every", "1h"])).code).toBe(0);
    expect(await mirror.stop("SIGTERM")).toMatchObject({ code: 0 });
  });
});

describe("an initiator whose mirror stays away", () => {
  test("gives up after --timeout with 7, and the order goes on when the mirror is back", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"));
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(held), "--timeout", "0.5s");
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await held.asked();
    await mirror.stop("SIGKILL");
    const { code, stdout } = await initiator.finished();
    expect(code).toBe(7);
    expect(stdout).toContain("cannot reach the mirror");

    held.letGo();
    await mirror.start();
    const followed = await orders.ask(["--follow", orderId, "--json"]);
    expect(followed.code).toBe(0);
    expect(resultOf(followed)).toMatchObject({ orderId, files: 2 });
  });

  test("is told which order to ask for when it is interrupted", async () => {
    using folder = tempFolder();
    using held = new HeldSource(files);
    await using mirror = await SteadyServer.mirror(folder.join("mirror"));
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(held));
    await initiator.event("accepted");
    await mirror.stop("SIGKILL");
    initiator.kill("SIGINT");
    expect((await initiator.finished()).code).toBe(130);
  });
});
