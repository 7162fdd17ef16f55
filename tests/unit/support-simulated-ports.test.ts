import { describe, expect, test } from "bun:test";
import type { Link } from "../../src/sync/ports.ts";
import { systemError } from "../support/simulated-tree.ts";
import { SimulatedWorld } from "../support/sync-ports.ts";
import { textAt, textsBelow, writeText } from "../support/sync-texts.ts";

describe("the simulated clock", () => {
  test("lets events happen in order, and promises between them", () => {
    const { clock } = new SimulatedWorld(1);
    const log: string[] = [];
    clock.wake(20, () => log.push(`b at ${clock.monotonicMs()}`));
    clock.wake(10, () => {
      void Promise.resolve()
        .then(() => null)
        .then(() => log.push("promise"));
      clock.wake(10, () => log.push("same moment"));
    });
    clock.wake(15, () => log.push("cancelled"))();
    clock.pass(100);
    expect(log).toEqual(["promise", "same moment", "b at 20"]);
    expect(clock.monotonicMs()).toBe(100);
  });

  test("takes hundreds of events in order", () => {
    const { clock, random } = new SimulatedWorld(3);
    const seen: number[] = [];
    for (let index = 0; index < 500; index++) {
      const atMs = random.integer(0, 100);
      clock.wake(atMs, () => seen.push(atMs));
    }
    clock.pass(1000);
    expect(seen.length).toBe(500);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test("fails when what is waited for does not come", () => {
    const { clock } = new SimulatedWorld(1);
    expect(() => clock.until(() => false, "nothing")).toThrow("in vain for nothing");
    expect(() => clock.settled(new Promise(() => {}))).toThrow("in vain");
    expect(() => clock.settled(Promise.reject(new Error("it failed")))).toThrow("it failed");
  });
});

describe("the simulated disk", () => {
  function machine(seed: number, nameLoss: "ordered" | "any" = "any") {
    const world = new SimulatedWorld(seed);
    return { world, machine: world.machine("10.0.0.1", { nameLoss }) };
  }

  test("keeps everything when a process is killed", () => {
    const { machine: one } = machine(1);
    const { tree } = one.boot();
    writeText(tree, "d/f", "unsynced");
    one.kill();
    expect(() => tree.stat(["d"])).toThrow();
    expect(textAt(one.boot().tree, "d/f")).toBe("unsynced");
  });

  test("keeps what was synced when the power fails, whatever else is lost", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { world, machine: one } = machine(seed, seed % 2 === 0 ? "any" : "ordered");
      const { tree } = one.boot();
      writeText(tree, "d/f", "synced");
      const file = tree.openToWrite(["d", "f"]);
      world.clock.settled(file.sync());
      world.clock.settled(tree.syncDirectory([]));
      world.clock.settled(tree.syncDirectory(["d"]));
      writeText(tree, "d/g", "unsynced");
      tree.rename(["d", "g"], ["h"]);
      one.losePower();
      expect(textAt(one.user(), "d/f")).toBe("synced");
    }
  });

  test("loses in every way what was not synced", () => {
    const endings = new Set<string>();
    for (let seed = 1; seed <= 200; seed++) {
      const { world, machine: one } = machine(seed);
      const { tree } = one.boot();
      writeText(tree, "f", "old1");
      const file = tree.openToWrite(["f"]);
      world.clock.settled(file.sync());
      world.clock.settled(tree.syncDirectory([]));
      file.write(Buffer.from("NEW2"), 0);
      writeText(tree, "g", "g");
      tree.rename(["f"], ["h"]);
      one.losePower();
      for (const [name, text] of textsBelow(one.user())) endings.add(`${name} ${text}`);
    }
    for (const ending of ["f old1", "h NEW2", "h old1", "g ", "g g", "g \0", "h NEd1"])
      expect(endings).toContain(ending);
    // What was synced in its place may be old or new, but is never gone.
    expect(endings).not.toContain("h NE\0\0");
    expect([...endings].filter((ending) => ending.startsWith("f") && ending.includes("g"))).toEqual([]);
  });

  test("never shows a rename by half", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const { world, machine: one } = machine(seed);
      const { tree } = one.boot();
      writeText(tree, "a/f", "x");
      tree.makeDirectory(["b"]);
      const file = tree.open(["a", "f"]);
      world.clock.settled(file.sync());
      for (const path of [[], ["a"], ["b"]]) world.clock.settled(tree.syncDirectory(path));
      tree.rename(["a", "f"], ["b", "f"]);
      one.losePower();
      expect(textsBelow(one.user()).size).toBe(1);
    }
  });

  test("never finishes what was under way when the power failed", () => {
    const { world, machine: one } = machine(1);
    const { tree, ledger } = one.boot();
    writeText(tree, "f", "x");
    const ended: string[] = [];
    void tree
      .open(["f"])
      .sync()
      .then(() => ended.push("sync"));
    void ledger.put([{ table: "t", key: "k", value: "v" }]).then(() => ended.push("put"));
    one.losePower();
    world.clock.pass(1000);
    expect(ended).toEqual([]);
  });

  test("fails as it is told to", () => {
    const { machine: one } = machine(1);
    const { tree } = one.boot();
    one.disk.settings.capacityBytes = 10;
    expect(() => writeText(tree, "f", "x".repeat(11))).toThrow("ENOSPC");
    writeText(tree, "f", "x".repeat(10));
    one.disk.before = ({ kind }) => {
      if (kind === "unlink") throw systemError("EACCES");
    };
    expect(() => tree.unlink(["f"])).toThrow("EACCES");
  });
});

test("the simulated ledger loses some last puts, whole ones, when the power fails", () => {
  const counts = new Set<number>();
  for (let seed = 1; seed <= 100; seed++) {
    const world = new SimulatedWorld(seed);
    const machine = world.machine("10.0.0.1");
    const { ledger } = machine.boot();
    world.clock.settled(ledger.put([{ table: "t", key: "0", value: "x" }]));
    for (let key = 1; key <= 5; key++) {
      void ledger.put([
        { table: "t", key: `${key}`, value: "a" },
        { table: "u", key: `${key}`, value: "b" },
      ]);
    }
    expect([...ledger.rows("t")].length).toBe(6);
    machine.losePower();
    const after = machine.boot().ledger;
    const kept = [...after.rows("t")].map(([key]) => Number(key));
    expect(kept).toEqual(kept.map((_, index) => index));
    expect([...after.rows("u")].length).toBe(kept.length - 1);
    counts.add(kept.length);
  }
  expect([...counts].sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
});

describe("the simulated network", () => {
  function connected(seed: number, settings = {}) {
    const world = new SimulatedWorld(seed, { network: settings });
    const [a, b] = [world.machine("10.0.0.1"), world.machine("10.0.0.2")];
    const log: string[] = [];
    const listening = (name: string) => ({
      data: (bytes: Uint8Array) => void log.push(`${name} ${Buffer.from(bytes).toString()}`),
      drained: () => void log.push(`${name} drained`),
      ended: () => void log.push(`${name} ended`),
      closed: (error: Error | undefined) =>
        void log.push(`${name} closed${error === undefined ? "" : " badly"}`),
    });
    let server!: Link;
    const { port } = b.boot().network.listen("any", 0, (link) => {
      server = link;
      link.attach(listening("server"));
    });
    const client = world.clock.settled(
      a.boot().network.dial({ host: "10.0.0.2", port }, 1000, (link) => {
        link.attach(listening("client"));
        return link;
      }),
    );
    return { world, a, b, client, server, log, port };
  }

  test("brings all bytes, in order, in portions of any size", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { world, client, log } = connected(seed, { maxPortionBytes: seed });
      for (let index = 0; index < 20; index++) client.write(Buffer.from(`${index},`));
      world.clock.pass(10_000);
      const portions = log.filter((line) => line.startsWith("server ")).map((line) => line.slice(7));
      expect(portions.join("")).toBe(Array.from({ length: 20 }, (_, index) => `${index},`).join(""));
      for (const portion of portions) expect(portion.length).toBeLessThanOrEqual(seed);
    }
  });

  test("ends orderly: what was written arrives, and a half-closed peer is answered", () => {
    const { world, client, server, log } = connected(1);
    client.write(Buffer.from("question"));
    client.end();
    world.clock.until(() => log.includes("server ended"), "the end");
    server.write(Buffer.from("answer"));
    server.end();
    world.clock.pass(100);
    expect(log.filter((line) => line.includes("closed")).sort()).toEqual(["client closed", "server closed"]);
    expect(
      log
        .filter((line) => line.startsWith("client ") && !line.includes("closed"))
        .join("")
        .replaceAll("client ", ""),
    ).toBe("answer");
    expect(world.network.pairs.size).toBe(0);
  });

  test("holds up who writes more than the other one takes, and tells when there is room", () => {
    const { world, client, server, log } = connected(2, { windowBytes: 1000 });
    server.pause();
    world.clock.pass(100);
    client.write(new Uint8Array(900));
    expect(client.isFull).toBe(false);
    client.write(new Uint8Array(900));
    expect(client.isFull).toBe(true);
    world.clock.pass(1000);
    expect(log).toEqual([]);
    server.resume();
    world.clock.until(() => log.includes("client drained"), "room");
    expect(client.isFull).toBe(false);
  });

  test("cuts, stalls, damages and refuses as it is told to", () => {
    const { world, a, client, log, port } = connected(3);
    const [pair] = world.network.pairs;
    pair!.stall();
    client.write(Buffer.from("late"));
    world.clock.pass(1000);
    expect(log).toEqual([]);
    pair!.unstall();
    world.clock.pass(1000);
    expect(log.join("").replaceAll("server ", "")).toBe("late");
    world.network.tamper = (bytes) => (bytes[0]! ^= 1);
    client.write(Buffer.from("a"));
    world.clock.pass(1000);
    expect(log.at(-1)).toBe("server `");
    world.network.cut();
    world.clock.pass(1000);
    expect(log.slice(-2).sort()).toEqual(["client closed badly", "server closed badly"]);
    const dial = (portWanted: number) =>
      world.clock.settled(a.boot().network.dial({ host: "10.0.0.2", port: portWanted }, 1000, () => {}));
    expect(() => dial(1)).toThrow("refused");
    world.network.isReachable = () => false;
    expect(() => dial(port)).toThrow("within 1 s");
  });

  test("tells the others, not the dead, when a process is killed", () => {
    const { world, b, log } = connected(4);
    b.kill();
    world.clock.pass(1000);
    expect(log).toEqual(["client closed badly"]);
  });
});

test("a world is the same for the same seed, and another one for another", () => {
  const story = (seed: number): string => {
    const world = new SimulatedWorld(seed);
    const machine = world.machine("10.0.0.1");
    const { tree, watcher, clock } = machine.boot();
    const log: string[] = [];
    watcher.settings = { delayMs: [0, 50], lost: 0.2, doubled: 0.2, overflown: 0.2 };
    watcher.watch({
      changed: (path) => log.push(`${clock.monotonicMs()} ${path?.join("/")}`),
      failed: () => {},
    });
    for (let index = 0; index < 20; index++) {
      writeText(tree, `f${index}`, "x");
      world.clock.pass(5);
    }
    world.clock.pass(100);
    machine.losePower();
    return JSON.stringify([log, [...textsBelow(machine.user())]]);
  };
  expect(story(5)).toBe(story(5));
  expect(story(5)).not.toBe(story(6));
});
