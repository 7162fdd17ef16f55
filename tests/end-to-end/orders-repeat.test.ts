import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { HeldSource } from "../support/held-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { type Program } from "../support/program.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

setDefaultTimeout(60_000);

const SIGNALS = ["SIGKILL", "SIGTERM"] as const;

/** What the mirror's log says of an order, one word for each line: "due" when a run begins, "ended" when it ends. */
function runsOf(mirror: Program, orderId: string): string[] {
  const lines = mirror
    .stderrText()
    .split("\n")
    .filter((line) => line.includes(`order ${orderId}:`));
  return lines.flatMap((line) =>
    /due again|going on|source\(s\)/.test(line) ? ["begun"] : line.endsWith(" failed") ? ["ended"] : [],
  );
}

/** Waits until the log of this life of the mirror tells of so many ended runs. */
async function ended(mirror: Program, orderId: string, count: number): Promise<void> {
  await mirror.stderrMatch(new RegExp(`(order ${orderId}: \\d+ files[^]*){${count}}`), { timeoutMs: 30_000 });
}

interface Scene extends AsyncDisposable {
  folder: TempFolder;
  content: SteadyServer;
  mirror: SteadyServer;
  orders: MirrorOrders;
  /** A file at the source, and where it goes. */
  source: (name: string) => string;
  copy: (name: string) => string;
}

async function openScene(): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(tempFolder());
  await Bun.write(folder.join("data/first"), "1");
  const content = stack.use(await SteadyServer.content(folder.join("data")));
  const mirror = stack.use(await SteadyServer.mirror(folder.join("mirror"), ["--grace", "0"]));
  return {
    folder,
    content,
    mirror,
    orders: new MirrorOrders(mirror),
    source: (name) => folder.join("data", name),
    copy: (name) => folder.join("mirror", `127.0.0.1_${content.port}`, name),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

describe("--every", () => {
  test("repeats an order: what is new at the source comes, what is there stays", async () => {
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const first = await orders.ask(["-s", sourceText(scene.content), "--every", "1s", "--json"]);
    expect(first.code).toBe(0);
    const { orderId, files } = resultOf(first);
    expect(files).toBe(1);
    const [summary, ...others] = await orders.list();
    expect(others).toEqual([]);
    expect(summary).toMatchObject({ orderId, everyMs: 1000, last: { files: 1, failed: 0 } });

    await Bun.write(scene.source("second"), "22");
    // The run after the next one began behind that.
    await ended(
      mirror.program,
      orderId,
      1 + runsOf(mirror.program, orderId).filter((run) => run === "ended").length + 1,
    );
    expect(await Bun.file(scene.copy("second")).text()).toBe("22");
    const followed = await orders.ask(["--follow", orderId, "--json"]);
    expect(resultOf(followed)).toMatchObject({ orderId, files: 2, unchanged: 2, bytesTransferred: 0 });
  });

  test("is shown when somebody asks for the list", async () => {
    await using scene = await openScene();
    const { orderId } = resultOf(
      await scene.orders.ask(["-s", sourceText(scene.content), "--every", "1h", "--json"]),
    );
    const [summary] = await scene.orders.list();
    expect(summary).toMatchObject({ orderId, state: "waiting", everyMs: 3_600_000 });
    expect(summary!.dueMs).toBe(summary!.startedMs + 3_600_000);
    const { stdout } = await scene.orders.ask(["--list"]);
    expect(stdout).toContain("waiting, every 1 h");
    expect(stdout).toContain(new Date(summary!.dueMs!).toISOString());
  });

  test("never lets two runs overlap, however long one takes", async () => {
    await using stage = await Stage.open({ flags: ["-w", "1"] });
    const content = await stage.content("data", async (directory) => {
      for (const name of ["a", "b", "c"]) await Bun.write(`${directory}/${name}`, name);
    });
    // Each run takes longer than the second between two runs: files that changed are fetched again.
    const given = stage.startOrder([sourceText(content, ".", 0.6)], ["--every", "1s"]);
    const orderId = String((await given.event("accepted"))["orderId"]);
    for (let run = 1; run <= 3; run++) {
      await ended(stage.mirror, orderId, run);
      for (const name of ["a", "b", "c"]) await Bun.write(`${content.directory}/${name}`, `${name} ${run}`);
    }
    const runs = runsOf(stage.mirror, orderId);
    expect(runs.length).toBeGreaterThanOrEqual(5);
    for (const [index, run] of runs.entries()) expect(run).toBe(index % 2 === 0 ? "begun" : "ended");
  });

  test.each(SIGNALS)("goes on after a %s while the order waits", async (signal) => {
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const given = await orders.ask(["-s", sourceText(scene.content), "--every", "1s", "--json"]);
    const { orderId } = resultOf(given);
    await mirror.stop(signal);
    await Bun.write(scene.source("second"), "22");
    await mirror.start();
    await ended(mirror.program, orderId, 1);
    expect(await Bun.file(scene.copy("second")).text()).toBe("22");
  });

  test.each(SIGNALS)("goes on after a %s in the middle of a run", async (signal) => {
    using held = new HeldSource({ a: Buffer.from("one"), b: Buffer.from("two") });
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const initiator = orders.start("-s", sourceText(held), "--every", "1s");
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await held.asked();
    await mirror.stop(signal);
    held.letGo();
    await mirror.start();
    const result = resultOf(await initiator.finished());
    expect(result).toMatchObject({ orderId, files: 2, failed: 0 });
    await ended(mirror.program, orderId, 2);
    expect(await orders.state(orderId)).not.toBe("done");
  });

  test("a run that was missed while the mirror was away is made up for when it is back", async () => {
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const given = await orders.ask(["-s", sourceText(scene.content), "--every", "1s", "--json"]);
    const { orderId } = resultOf(given);
    const [summary] = await orders.list();
    await mirror.stop("SIGKILL");
    await Bun.sleep(summary!.startedMs + 1_000 - Date.now()); // until its time has come
    await Bun.write(scene.source("second"), "22");
    await mirror.start();
    await ended(mirror.program, orderId, 1);
    expect(await Bun.file(scene.copy("second")).text()).toBe("22");
  });

  test("ends with --cancel, for ever", async () => {
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const { orderId } = resultOf(
      await orders.ask(["-s", sourceText(scene.content), "--every", "1s", "--json"]),
    );
    expect((await orders.ask(["--cancel", orderId])).code).toBe(0);
    const begun = runsOf(mirror.program, orderId).length;
    await Bun.write(scene.source("second"), "22");
    // Another order that is repeated as often shows that its time is over.
    const other = resultOf(
      await orders.ask(["-s", sourceText(scene.content, "first"), "--every", "1s", "--json"]),
    );
    await ended(mirror.program, other.orderId, 3);
    expect(runsOf(mirror.program, orderId)).toHaveLength(begun);
    await mirror.stop("SIGKILL");
    await mirror.start();
    await ended(mirror.program, other.orderId, 2);
    expect(runsOf(mirror.program, orderId)).toEqual([]);
    expect(await orders.state(orderId)).toBe("cancelled");
    expect(existsSync(scene.copy("second"))).toBe(false);
  });

  test("a run that fails is no reason to stop: the next one brings what is missing", async () => {
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const first = await orders.ask(["-s", sourceText(scene.content, "second"), "--every", "1s", "--json"]);
    expect(first.code).toBe(4);
    const { orderId } = resultOf(first);
    await Bun.write(scene.source("second"), "22");
    await mirror.program.stderrMatch(new RegExp(`order ${orderId}: 1 files, 0 of them unchanged, 0 failed`));
    expect(await Bun.file(scene.copy("second")).text()).toBe("22");
  });

  test.each(["0.5s", "0", "400d", "often"])("of %s is refused", async (time) => {
    await using scene = await openScene();
    const { code, stderr } = await scene.orders.ask(["-s", sourceText(scene.content), "--every", time]);
    expect(code).toBe(2);
    expect(stderr).toContain("--every");
  });
});
