import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { diffTrees } from "../support/diff.ts";
import { HeldSource } from "../support/held-source.ts";
import { MirrorOrders, resultOf } from "../support/mirror-orders.ts";
import { type Program } from "../support/program.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { sourceText } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { smallFileSystem, type TempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { TreeWatch } from "../support/tree-watch.ts";

setDefaultTimeout(90_000);

const MIB = 1024 * 1024;

const canMount = ((): boolean => {
  const disk = smallFileSystem(MIB);
  disk?.[Symbol.dispose]();
  return disk !== undefined;
})();

function smallDisk(sizeBytes: number): TempFolder {
  const disk = smallFileSystem(sizeBytes);
  if (disk === undefined) throw new Error("Mounting was permitted a moment ago");
  return disk;
}

function freeBytes(disk: TempFolder): number {
  const { bavail, bsize } = statfsSync(disk.path);
  return bavail * bsize;
}

/** Leaves so much room and no more. */
function fillUp(disk: TempFolder, leaveBytes: number): void {
  writeFileSync(disk.join("ballast"), Buffer.alloc(Math.max(0, freeBytes(disk) - leaveBytes)), { flag: "a" });
}

function makeRoom(disk: TempFolder): void {
  rmSync(disk.join("ballast"));
}

async function parked(initiator: Program): Promise<void> {
  expect(await initiator.event("parked", { timeoutMs: 10_000 })).toMatchObject({
    code: "no-space",
    message: expect.stringContaining("no space left"),
  });
}

describe.skipIf(!canMount)("a disk that is full (skipped where mounting is not permitted)", () => {
  test("parks the order, which goes on by itself when there is room", async () => {
    using disk = smallDisk(40 * MIB);
    using folder = ramFolder(40 * MIB);
    const data = folder.join("data");
    makeLargeFile(`${data}/large`, { seed: 1, sizeBytes: 9 * MIB });
    makeLargeFile(`${data}/larger`, { seed: 2, sizeBytes: 10 * MIB });
    makeManyFiles(data, { seed: 3, count: 200, directories: 5, minBytes: 100, maxBytes: 20_000 });
    await using content = await SteadyServer.content(data);
    await using mirror = await SteadyServer.mirror(disk.join("mirror"), ["-w", "4"]);
    fillUp(disk, 12 * MIB);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(content));
    await parked(initiator);
    await mirror.program.stderrMatch(/parked: no space left/);
    const [summary] = await orders.list();
    expect(summary!.state).toBe("running");
    const watch = new TreeWatch(disk.join("mirror", `127.0.0.1_${content.port}`), data);
    watch.look();
    expect(watch.violations).toEqual([]);

    makeRoom(disk);
    const finished = await initiator.finished({ timeoutMs: 60_000 });
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 202, failed: 0, failures: [] });
    expect(await diffTrees(data, disk.join("mirror", `127.0.0.1_${content.port}`))).toEqual([]);
    expect(watch.look().temps).toEqual([]);
    // It is told once that it stopped, and once that it goes on.
    expect(finished.events.filter(({ type }) => type === "parked")).toHaveLength(1);
    expect(finished.events.filter(({ type }) => type === "resumed")).toHaveLength(1);
  });

  test("is no failure of the files, however long it takes and whatever --attempts says", async () => {
    using disk = smallDisk(24 * MIB);
    using folder = ramFolder(10 * MIB);
    makeLargeFile(folder.join("data/large"), { seed: 1, sizeBytes: 6 * MIB });
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(disk.join("mirror"));
    fillUp(disk, 2 * MIB);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(content), "--attempts", "1", "--patience", "0");
    await parked(initiator);
    // It has tried again in vain when the source has been asked anew.
    await Bun.sleep(6_000); // the mirror looks every 5 s, and nothing tells of it
    expect(initiator.events.map(({ type }) => type).filter((type) => type !== "progress")).toEqual([
      "accepted",
      "parked",
    ]);
    makeRoom(disk);
    const finished = await initiator.finished({ timeoutMs: 60_000 });
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 1, failed: 0 });
  });

  test("while a source is listed stops the listing until the journal has room", async () => {
    const count = 20_000;
    const links = Array.from({ length: count }, (_, index) => ({
      kind: "symlink" as const,
      path: `${"a-long-name-".repeat(16)}${index}`,
    }));
    using source = new ScriptedSource({ list: (connection, asked) => connection.sendList(asked, links) });
    using disk = smallDisk(32 * MIB);
    await using mirror = await SteadyServer.mirror(disk.join("mirror"));
    fillUp(disk, 2 * MIB);
    const initiator = new MirrorOrders(mirror).start("-s", sourceText(source));
    await parked(initiator);
    makeRoom(disk);
    const finished = await initiator.finished({ timeoutMs: 60_000 });
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 0, skipped: count, failed: 0 });
    expect(source.connections).toHaveLength(1);
  });

  test.each(["SIGKILL", "SIGTERM"] as const)("parks it again after a %s and a new start", async (signal) => {
    using disk = smallDisk(32 * MIB);
    using folder = ramFolder(20 * MIB);
    const data = folder.join("data");
    makeLargeFile(`${data}/large`, { seed: 1, sizeBytes: 8 * MIB });
    makeManyFiles(data, { seed: 3, count: 100, directories: 5, minBytes: 100, maxBytes: 20_000 });
    await using content = await SteadyServer.content(data);
    await using mirror = await SteadyServer.mirror(disk.join("mirror"), ["-w", "2", "--grace", "0"]);
    fillUp(disk, 3 * MIB);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(content));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await parked(initiator);
    const exit = await mirror.stop(signal);
    if (signal === "SIGTERM") expect(exit.code).toBe(0);
    // Without a single byte it does not start, and says why.
    fillUp(disk, 0);
    const vain = await mirror.begin().finished();
    expect(vain.code).toBe(1);
    expect(vain.stderr).toContain("no space left");
    // A little is enough to start, and to find out that it is not enough for the rest.
    rmSync(disk.join("ballast"));
    fillUp(disk, MIB / 2);
    await mirror.start();
    await mirror.program.stderrMatch(new RegExp(`order ${orderId}: going on`));
    await mirror.program.stderrMatch(/parked: /);
    makeRoom(disk);
    const finished = await initiator.finished({ timeoutMs: 60_000 });
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ orderId, files: 101, failed: 0 });
    expect(await diffTrees(data, disk.join("mirror", `127.0.0.1_${content.port}`))).toEqual([]);
    expect(mirror.program.stderrText()).not.toContain("damaged");
  });

  test("without a single free byte when an order ends: it ends when there is room, and is remembered", async () => {
    using held = new HeldSource({ empty: Buffer.alloc(0), one: Buffer.from("1") });
    using disk = smallDisk(24 * MIB);
    await using mirror = await SteadyServer.mirror(disk.join("mirror"));
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(held));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await held.asked(2);
    fillUp(disk, 0);
    held.letGo();
    await parked(initiator);
    makeRoom(disk);
    const finished = await initiator.finished({ timeoutMs: 60_000 });
    expect(finished.code).toBe(0);
    expect(resultOf(finished)).toMatchObject({ files: 2, bytes: 1, failed: 0 });
    await mirror.stop("SIGKILL");
    await mirror.start();
    expect(resultOf(await orders.ask(["--follow", orderId, "--json"]))).toEqual(resultOf(finished));
  });

  test("parks every order, and all of them go on", async () => {
    using disk = smallDisk(40 * MIB);
    using folder = ramFolder(20 * MIB);
    for (const name of ["a", "b"])
      makeLargeFile(folder.join(`data/${name}/large`), { seed: 1, sizeBytes: 7 * MIB });
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(disk.join("mirror"));
    fillUp(disk, 4 * MIB);
    const orders = new MirrorOrders(mirror);
    const initiators = ["a", "b"].map((name) => orders.start("-s", sourceText(content, name)));
    for (const initiator of initiators) await parked(initiator);
    // Whoever comes now learns it as well.
    initiators.push(orders.start("-s", sourceText(content, "a")));
    await parked(initiators[2]!);
    const [first] = await orders.list();
    const follower = orders.start("--follow", first!.orderId);
    await parked(follower);
    initiators.push(follower);
    makeRoom(disk);
    for (const initiator of initiators)
      expect((await initiator.finished({ timeoutMs: 60_000 })).code).toBe(0);
    expect(await diffTrees(content.directory, disk.join("mirror", `127.0.0.1_${content.port}`))).toEqual([]);
  });

  test("can be left by --cancel", async () => {
    using disk = smallDisk(24 * MIB);
    using folder = ramFolder(20 * MIB);
    makeLargeFile(folder.join("data/large"), { seed: 1, sizeBytes: 8 * MIB });
    await using content = await SteadyServer.content(folder.join("data"));
    await using mirror = await SteadyServer.mirror(disk.join("mirror"));
    fillUp(disk, 2 * MIB);
    const orders = new MirrorOrders(mirror);
    const initiator = orders.start("-s", sourceText(content));
    const orderId = String((await initiator.event("accepted"))["orderId"]);
    await parked(initiator);
    expect((await orders.ask(["--cancel", orderId])).code).toBe(0);
    expect((await initiator.finished()).code).toBe(3);
    expect(await orders.state(orderId)).toBe("cancelled");
    expect((await mirror.stop("SIGTERM")).code).toBe(0);
  });
});
