import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { Client } from "../../src/transfer/client.ts";
import type { OrderCommand, OrderEvent } from "../../src/wire/order.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { SlowSync } from "../support/slow-sync.ts";
import { sourceText } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

setDefaultTimeout(60_000);

interface Scene extends AsyncDisposable {
  folder: TempFolder;
  content: SteadyServer;
  mirror: SteadyServer;
  orders: MirrorOrders;
  sync: SlowSync;
}

async function openScene(): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(tempFolder());
  for (const name of ["a", "b"]) await Bun.write(folder.join("data", name), name);
  mkdirSync(folder.join("bin"));
  const sync = stack.use(await SlowSync.open(folder.join("bin")));
  const content = stack.use(await SteadyServer.content(folder.join("data")));
  const flags = ["--grace", "0", "--durability", "batch"];
  const mirror = stack.use(await SteadyServer.mirror(folder.join("mirror"), flags, { env: sync.env }));
  const orders = new MirrorOrders(mirror);
  return { folder, content, mirror, orders, sync, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("an order whose files are all there and are being synced", () => {
  test("has no result before they are durable", async () => {
    await using scene = await openScene();
    scene.sync.hold();
    const initiator = scene.orders.start("-s", sourceText(scene.content));
    await scene.sync.reached();
    const [summary] = await scene.orders.list();
    expect(summary!.state).toBe("running");
    expect(initiator.events.some(({ type }) => type === "result")).toBe(false);
    scene.sync.letGo();
    expect(resultOf(await initiator.finished())).toMatchObject({ files: 2, failed: 0 });
  });

  test.each([false, true])("can still be cancelled, and stays so (repeated: %p)", async (isRepeated) => {
    await using scene = await openScene();
    const { orders, mirror, sync } = scene;
    sync.hold();
    const initiator = orders.start("-s", sourceText(scene.content), ...(isRepeated ? ["--every", "1s"] : []));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await sync.reached();
    expect((await orders.ask(["--cancel", orderId])).code).toBe(0);
    sync.letGo();
    const { code, events } = await initiator.finished();
    expect(code).toBe(3);
    expect(events.at(-1)).toEqual({ type: "cancelled", orderId });
    // Another one that is repeated as often shows that a next run would have come.
    const other = resultOf(
      await orders.ask(["-s", sourceText(scene.content, "a"), "--every", "1s", "--json"]),
    );
    await mirror.program.stderrMatch(new RegExp(`(order ${other.orderId}: \\d+ files[^]*){3}`));
    expect(mirror.program.stderrText()).not.toMatch(new RegExp(`order ${orderId}: (due|\\d+ files)`));
    expect(await orders.state(orderId)).toBe("cancelled");
  });

  test("is not taken for failed when it is retried too early", async () => {
    await using scene = await openScene();
    const { orders, sync } = scene;
    sync.hold();
    const initiator = orders.start("-s", sourceText(scene.content));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await sync.reached();
    expect((await orders.ask(["--retry-failed", orderId, "--timeout", "0"])).code).not.toBe(0);
    sync.letGo();
    expect((await initiator.finished()).code).toBe(0);
    expect(await orders.state(orderId)).toBe("done");
  });

  test.each(["SIGKILL", "SIGTERM"] as const)("is ended by the next mirror after a %s", async (signal) => {
    await using scene = await openScene();
    const { orders, mirror, sync } = scene;
    sync.hold();
    const initiator = orders.start("-s", sourceText(scene.content));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await sync.reached();
    mirror.program.kill(signal);
    sync.letGo();
    const exit = await mirror.program.finished();
    if (signal === "SIGTERM") expect({ code: exit.code, stderr: exit.stderr }).toMatchObject({ code: 0 });
    expect(exit.stderr).not.toContain("fault");
    await mirror.start();
    const finished = await initiator.finished();
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ orderId, files: 2, bytes: 2, failed: 0 });
  });
});

describe("a large order that has its result and is being tidied up", () => {
  const COUNT = 50_000;

  /** Nothing but links, which are skipped: they cost the journal as much as files. */
  function manyLinks(): ScriptedSource {
    const links = Array.from({ length: COUNT }, (_, index) => ({
      kind: "symlink" as const,
      path: `${index}`,
    }));
    return new ScriptedSource({ list: (connection, asked) => connection.sendList(asked, links) });
  }

  /** Asks something of the mirror over a connection that is open already, and waits for the last event. */
  async function ask(client: Client, command: OrderCommand, last: OrderEvent["type"]): Promise<OrderEvent> {
    let event: OrderEvent | undefined;
    await client.order(JSON.stringify(command), (json) => {
      event = JSON.parse(json) as OrderEvent;
      return event.type === last;
    });
    return event!;
  }

  test("can be cancelled for ever, and is not retried while it runs", async () => {
    using source = manyLinks();
    await using scene = await openScene();
    const { orders, mirror } = scene;
    const settings = { agent: "test", timeoutMs: 10_000 };
    const [giver, canceller] = [
      await Client.connect(mirror, settings),
      await Client.connect(mirror, settings),
    ];
    const order = {
      sources: [{ host: "127.0.0.1", port: source.port, path: ".", delayMs: 0 }],
      attempts: 1,
      patienceMs: 1000,
      include: [],
      exclude: [],
      everyMs: 1000,
    };
    const result = await ask(giver, { do: "give", order }, "result");
    if (result.type !== "result") throw new Error("no result");
    const { orderId } = result;
    expect(result.skipped).toBe(COUNT);
    await ask(canceller, { do: "cancel", orderId }, "cancelled");
    giver.close();
    canceller.close();

    const other = resultOf(await orders.ask(["-s", sourceText(scene.content), "--every", "1s", "--json"]));
    await mirror.program.stderrMatch(new RegExp(`(order ${other.orderId}: \\d+ files[^]*){3}`));
    expect(mirror.program.stderrText()).not.toContain(`order ${orderId}: due again`);
    expect(await orders.state(orderId)).toBe("cancelled");
  });
});
