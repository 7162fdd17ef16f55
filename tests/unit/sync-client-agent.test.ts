import { describe, expect, test } from "bun:test";
import { SyncStage, type StageClient, versionsIn } from "../support/sync-stage.ts";

function two(seed: number): { stage: SyncStage; a: StageClient; b: StageClient } {
  const stage = new SyncStage(seed);
  stage.startHub();
  const a = stage.client().start();
  const b = stage.client().start();
  return { stage, a, b };
}

/** Everybody has these files and nothing else. */
function expectAll(stage: SyncStage, files: Record<string, string>): void {
  expect({ server: stage.serverFiles }).toEqual({ server: files });
  for (const client of stage.clients) expect(client.files).toEqual(files);
}

describe("what one user does, the others get", () => {
  test("new files, edits, renames, deletes", () => {
    const { stage, a, b } = two(1);
    a.write("docs/plan.txt", "first");
    a.write("empty", "");
    b.write("large", "0123456789".repeat(5000));
    stage.settle();
    expectAll(stage, { "docs/plan.txt": "first", empty: "", large: "0123456789".repeat(5000) });
    b.write("docs/plan.txt", "second");
    a.rename("large", "moved");
    b.remove("empty");
    stage.settle();
    expectAll(stage, { "docs/plan.txt": "second", moved: "0123456789".repeat(5000) });
  });

  test("a rename is sent under the new name before the old one is deleted", () => {
    const { stage, a } = two(2);
    a.write("old", "content");
    stage.settle();
    stage.hubEvents.length = 0;
    a.rename("old", "new");
    stage.settle();
    const changes = stage.hubEvents.filter(({ type }) => type === "changed" || type === "deleted");
    expect(changes.map((event) => ("name" in event ? `${event.type} ${event.name}` : ""))).toEqual([
      "changed new",
      "deleted old",
    ]);
  });

  test("a directory that goes to and fro before its first delete counts is where it was left", () => {
    const { stage, a } = two(7);
    a.write("d/x", "content");
    a.write("y", "stays");
    stage.settle();
    for (const [from, to] of [
      ["d", "e"],
      ["e", "d"],
      ["d", "e"],
    ] as const) {
      a.rename(from, to);
      stage.world.clock.pass(120);
    }
    // Long before the next rescan.
    stage.world.clock.pass(10_000);
    expectAll(stage, { "e/x": "content", y: "stays" });
  });

  test("a directory in the place of a file, and a file in that of a directory, come with what is in them", () => {
    const { stage, a } = two(8);
    a.write("f", "file");
    a.write("g/x", "content");
    stage.settle();
    a.remove("f");
    stage.world.clock.pass(60);
    a.rename("g", "f");
    stage.world.clock.pass(60);
    a.write("g", "file");
    stage.world.clock.pass(10_000);
    expectAll(stage, { "f/x": "content", g: "file" });
  });

  test("nothing is said twice: a received file is not sent back, and idle clients are silent", () => {
    const { stage, a, b } = two(3);
    a.write("file", "content");
    stage.settle();
    const count = stage.hubEvents.length;
    stage.world.clock.pass(600_000);
    expect(stage.hubEvents.length).toBe(count);
    expect(b.told("sent")).toEqual([]);
    expect(a.told("received")).toEqual([]);
  });

  test("a file that is touched, or written with the same bytes, is not sent", () => {
    const { stage, a } = two(4);
    a.write("file", "content");
    stage.settle();
    a.write("file", "content");
    stage.settle();
    expect(a.told("sent")).toHaveLength(1);
  });

  test("a write that puts size and time back is found all the same", () => {
    const { stage, a, b } = two(5);
    a.write("file", "one");
    stage.settle();
    const tree = a.machine.user();
    const { mtimeNs } = tree.stat(["file"])!;
    const file = tree.openToWrite(["file"]);
    file.write(Buffer.from("two"), 0);
    file.setMtime(mtimeNs);
    file.close();
    stage.settle();
    expect(b.files).toEqual({ file: "two" });
  });

  test("directories that become empty go with their last file", () => {
    const { stage, a, b } = two(6);
    a.write("d/e/file", "x");
    stage.settle();
    a.remove("d/e/file");
    stage.settle();
    expect(b.machine.user().stat(["d"])).toBeUndefined();
    expect(stage.server.user().stat(["d"])).toBeUndefined();
  });

  test("a name that changes only its case", () => {
    const { stage, a } = two(7);
    a.write("readme", "x");
    stage.settle();
    a.rename("readme", "README");
    stage.settle();
    expectAll(stage, { README: "x" });
  });

  test("a file becomes a directory, and the other way round", () => {
    const { stage, a } = two(8);
    a.write("thing", "file");
    stage.settle();
    a.remove("thing");
    a.write("thing/inner", "x");
    stage.settle();
    expectAll(stage, { "thing/inner": "x" });
    a.remove("thing/inner");
    a.machine.user().removeDirectory(["thing"]);
    a.write("thing", "again");
    stage.settle();
    expectAll(stage, { thing: "again" });
  });
});

describe("nothing is lost", () => {
  test("both edit the same file at the same time: one stays, the other is a conflict copy everywhere", () => {
    const { stage, a, b } = two(11);
    a.write("plan.txt", "base");
    stage.settle();
    a.write("plan.txt", "by a");
    b.write("plan.txt", "by b");
    stage.settle();
    const files = stage.serverFiles;
    expectAll(stage, files);
    const kept = [...Object.values(files), ...versionsIn(stage.server.user())];
    expect(kept).toContain("by a");
    expect(kept).toContain("by b");
  });

  test("both edit while one is offline", () => {
    const { stage, a, b } = two(12);
    a.write("plan.txt", "base");
    stage.settle();
    b.stop();
    a.write("plan.txt", "by a");
    b.write("plan.txt", "by b");
    stage.settle();
    b.start();
    stage.settle();
    const files = stage.serverFiles;
    expectAll(stage, files);
    expect(files["plan.txt"]).toBe("by a");
    expect(Object.keys(files)).toHaveLength(2);
    expect(Object.keys(files)[0]).toMatch(/^plan \(conflict 2026-11-21 12\.\d\d\.\d\d client2\)\.txt$/);
    expect(Object.values(files)).toContain("by b");
  });

  test("a delete never beats an edit that nobody there has seen", () => {
    const { stage, a, b } = two(13);
    a.write("one", "1");
    a.write("two", "2");
    stage.settle();
    b.stop();
    a.remove("one");
    b.write("one", "edited by b");
    a.write("two", "edited by a");
    b.remove("two");
    stage.settle();
    b.start();
    stage.settle();
    expectAll(stage, { one: "edited by b", two: "edited by a" });
  });

  test("what was deleted while a client was away is deleted there, to its versions", () => {
    const { stage, a, b } = two(14);
    a.write("gone", "content");
    a.write("stays", "x");
    stage.settle();
    b.stop();
    a.remove("gone");
    stage.settle();
    b.start();
    stage.settle();
    expectAll(stage, { stays: "x" });
    expect(versionsIn(b.machine.user())).toEqual(["content"]);
  });

  test("the literal rules give back what was deleted while a client was away", () => {
    const stage = new SyncStage(15);
    stage.startHub();
    const a = stage.client().start();
    const b = stage.client({ resurrects: true }).start();
    a.write("gone", "content");
    stage.settle();
    b.stop();
    b.remove("gone");
    b.start();
    stage.settle();
    expectAll(stage, { gone: "content" });
  });

  test("a new client with an old copy of the folder: the newer content stays, the older goes to the versions", () => {
    const { stage, a } = two(16);
    const c = stage.client();
    c.write("file", "old copy");
    stage.world.clock.pass(10_000);
    a.write("file", "newer");
    a.write("same", "equal");
    c.write("same", "equal");
    stage.settle();
    c.start();
    stage.settle();
    expectAll(stage, { file: "newer", same: "equal" });
    expect(versionsIn(c.machine.user())).toEqual(["old copy"]);
    expect(c.told("received").map(({ name }) => name)).toEqual(["file"]);
  });

  test("what everybody has already is not transferred again at a reconnect", () => {
    const { stage, a, b } = two(17);
    for (let number = 0; number < 20; number++) a.write(`f${number}`, `content ${number}`);
    stage.settle();
    b.stop();
    b.events.length = 0;
    b.start();
    stage.settle();
    expect(b.told("received")).toEqual([]);
    expect(b.told("sent")).toEqual([]);
  });
});

test("a client that was away while hundreds of files were edited gets them in one go", () => {
  const { stage, a, b } = two(18);
  for (let number = 0; number < 400; number++) a.write(`f${number}`, `content ${number}`);
  stage.settle();
  b.stop();
  for (let number = 0; number < 400; number++) a.write(`f${number}`, `edited ${number}`);
  stage.settle();
  b.start();
  stage.settle(60_000);
  expect(b.files).toEqual(a.files);
});

test("what is the same on both sides when they first meet is not transferred", () => {
  const { stage, a } = two(19);
  a.write("same", "equal");
  stage.settle();
  stage.hubEvents.length = 0;
  const c = stage.client();
  c.write("same", "equal");
  c.start();
  stage.settle();
  expect(stage.hubEvents.filter(({ type }) => type === "delivered" || type === "changed")).toEqual([]);
});

test("a file that is changed in its middle while it is being sent is never seen as a mixture", () => {
  for (let seed = 60; seed < 70; seed++) {
    const stage = new SyncStage(seed);
    stage.startHub();
    // A few chunks at a time, so that the change comes between two of them.
    const a = stage.client({ windowBytes: 5_000 }).start();
    const b = stage.client().start();
    stage.settle();
    a.write("file", "1".repeat(100_000));
    const { clock } = stage.world;
    clock.until(() => stage.hub.roster.lockCount > 0, "the upload to begin");
    clock.pass(seed - 60);
    const file = a.machine.user().openToWrite(["file"]);
    file.write(Buffer.from("2".repeat(90_000)), 5_000);
    file.close();
    const seen = new Set<string | undefined>();
    for (let step = 0; step < 100; step++) {
      clock.pass(20);
      seen.add(b.files["file"]);
    }
    stage.settle();
    const last = `${"1".repeat(5_000)}${"2".repeat(90_000)}${"1".repeat(5_000)}`;
    expect(b.files["file"] === last).toBe(true);
    for (const content of seen) expect([undefined, "1".repeat(100_000), last].includes(content)).toBe(true);
  }
});

describe("deletes are guarded", () => {
  test("an emptied folder deletes nothing anywhere until somebody approves", () => {
    const { stage, a, b } = two(21);
    for (let number = 0; number < 10; number++) a.write(`f${number}`, `content ${number}`);
    stage.settle();
    for (let number = 0; number < 10; number++) a.remove(`f${number}`);
    stage.world.clock.pass(60_000);
    expect(Object.keys(b.files)).toHaveLength(10);
    expect(Object.keys(stage.serverFiles)).toHaveLength(10);
    expect(a.told("held")).toMatchObject([{ files: 10, approvable: true }]);
    expect(a.events.at(-1)).toEqual({ type: "in-sync", files: 0, problems: 10 });
    expect([...a.agent.files()].filter(({ state }) => state === "held")).toHaveLength(10);
    expect(a.agent.approve()).toBe(10);
    stage.settle();
    expectAll(stage, {});
    expect(versionsIn(b.machine.user())).toHaveLength(10);
  });

  test("the same when it happened while no client ran", () => {
    const { stage, a, b } = two(22);
    for (let number = 0; number < 10; number++) a.write(`f${number}`, `content ${number}`);
    stage.settle();
    a.stop();
    for (let number = 0; number < 10; number++) a.remove(`f${number}`);
    a.start();
    stage.world.clock.pass(60_000);
    expect(Object.keys(b.files)).toHaveLength(10);
    expect(a.agent.bringBack()).toBe(10);
    stage.settle();
    expect(Object.keys(a.files)).toHaveLength(10);
    expect(a.told("released")).toHaveLength(1);
  });

  test("a folder that lost its marker deletes nothing", () => {
    const { stage, a, b } = two(23);
    a.write("one", "1");
    a.write("two", "2");
    stage.settle();
    a.machine.user().unlink([".dray", "root-id"]);
    a.remove("one");
    stage.world.clock.pass(60_000);
    expect(b.files).toEqual({ one: "1", two: "2" });
    a.agent.approve();
    stage.settle();
    expectAll(stage, { two: "2" });
  });

  test("a renamed directory is no mass delete", () => {
    const { stage, a } = two(24);
    for (let number = 0; number < 20; number++) a.write(`old/f${number}`, `content ${number}`);
    stage.settle();
    a.rename("old", "new");
    stage.settle();
    expect(Object.keys(stage.serverFiles)[0]).toBe("new/f0");
    expectAll(stage, a.files);
    expect(a.told("held")).toEqual([]);
  });
});

describe("bad days", () => {
  test("the server is away for a while", () => {
    const { stage, a, b } = two(31);
    a.write("before", "1");
    stage.settle();
    stage.server.kill();
    a.write("meanwhile", "2");
    b.write("meanwhile too", "3");
    stage.world.clock.pass(120_000);
    stage.startHub();
    stage.settle();
    expectAll(stage, { before: "1", meanwhile: "2", "meanwhile too": "3" });
  });

  test("connections are cut again and again in the middle of a file", () => {
    const { stage, a } = two(32);
    const content = "0123456789".repeat(200_000);
    a.write("large", content);
    for (let round = 0; round < 10; round++) {
      stage.world.clock.pass(150 + round * 20);
      stage.world.network.cut();
    }
    stage.settle();
    expectAll(stage, { large: content });
  });

  test("bytes are damaged on their way", () => {
    const { stage, a, b } = two(33);
    stage.settle();
    let toDamage = 6;
    stage.world.network.tamper = (bytes) => {
      if (bytes.length < 900 || toDamage === 0) return;
      toDamage--;
      bytes[bytes.length - 5]! ^= 1;
    };
    const content = "0123456789".repeat(2_000);
    a.write("one", content);
    b.write("two", content);
    stage.settle();
    expect(toDamage).toBe(0);
    expectAll(stage, { one: content, two: content });
  });

  test("a large file is damaged on its way, there and back, and arrives all the same", () => {
    const stage = new SyncStage(34);
    stage.startHub();
    const [a, b] = [1, 2].map(() => stage.client({ chunkBytes: 300_000 }).start());
    stage.settle();
    const content = "0123456789".repeat(250_000);
    const sent = { up: 0, down: 0 };
    // One byte far behind the beginning, on the way to the server, and on the way from it.
    stage.world.network.tamper = (bytes, from) => {
      const way = from === stage.server.address ? "down" : "up";
      const before = sent[way];
      sent[way] += bytes.length;
      if (before < 1_700_000 && sent[way] >= 1_700_000) bytes[bytes.length - 5]! ^= 1;
    };
    a!.write("large", content);
    const hasArrived = (): boolean => b!.events.some(({ type }) => type === "received");
    stage.world.clock.until(hasArrived, "the file at the other client", 120_000);
    stage.settle();
    expect(Math.min(sent.up, sent.down)).toBeGreaterThan(2 * content.length);
    expectAll(stage, { large: content });
  });

  test("a client is killed at any moment of a busy run", () => {
    for (let seed = 100; seed < 130; seed++) {
      const { stage, a, b } = two(seed);
      for (let number = 0; number < 6; number++) a.write(`f${number}`, `${number}`.repeat(number * 700));
      stage.world.clock.pass(seed * 7 - 600);
      b.kill();
      a.write("f1", "edited");
      a.remove("f2");
      stage.world.clock.pass(300);
      b.start();
      stage.settle();
      expectAll(stage, a.files);
      expect(a.files["f1"]).toBe("edited");
    }
  });

  test("the power fails on a client at any moment of a busy run", () => {
    for (let seed = 200; seed < 230; seed++) {
      const { stage, a, b } = two(seed);
      for (let number = 0; number < 6; number++) a.write(`f${number}`, `${number}`.repeat(number * 700));
      stage.world.clock.pass((seed - 200) * 25);
      b.losePower();
      a.write("f1", "edited");
      a.remove("f2");
      stage.world.clock.pass(2_000);
      b.start();
      stage.settle();
      expectAll(stage, a.files);
      expect(Object.keys(a.files)).not.toContain("f2");
      expect(a.files["f1"]).toBe("edited");
    }
  });

  test("a full disk refuses what comes, and takes it when there is room again", () => {
    const { stage, a, b } = two(34);
    stage.settle();
    b.machine.disk.settings = { ...b.machine.disk.settings, capacityBytes: 2_000 };
    a.write("large", "x".repeat(50_000));
    stage.world.clock.pass(30_000);
    expect(b.files).toEqual({});
    expect([...b.agent.files()]).toMatchObject([{ name: "large", state: "refused" }]);
    b.machine.disk.settings = { ...b.machine.disk.settings, capacityBytes: 1e9 };
    stage.settle(300_000);
    expectAll(stage, { large: "x".repeat(50_000) });
  });

  test("events that the system loses are found by the next scan", () => {
    const stage = new SyncStage(35);
    stage.startHub();
    const a = stage.client({ rescanMs: 20_000 });
    const b = stage.client().start();
    a.start();
    stage.settle();
    a.watcher.settings = { ...a.watcher.settings, lost: 1 };
    a.write("file", "content");
    stage.world.clock.pass(30_000);
    stage.settle();
    expect(b.files).toEqual({ file: "content" });
  });
});

describe("half-written files stay here", () => {
  test("a file that grows for a while is sent when it is whole", () => {
    const { stage, a, b } = two(41);
    stage.settle();
    const file = a.machine.user().create(["log"]);
    const seen = new Set<string | undefined>();
    for (let line = 0; line < 100; line++) {
      file.write(Buffer.from(`line ${String(line).padStart(4, "0")}\n`), line * 10);
      stage.world.clock.pass(30);
      seen.add(b.files["log"]);
    }
    file.close();
    stage.settle();
    expect(b.files["log"]).toHaveLength(1000);
    for (const content of seen) expect(content === undefined || content.endsWith("\n")).toBe(true);
  });

  test("a save that removes and writes anew is one update", () => {
    const { stage, a, b } = two(42);
    a.write("doc", "one");
    stage.settle();
    stage.hubEvents.length = 0;
    a.remove("doc");
    stage.world.clock.pass(100);
    a.write("doc", "two");
    stage.settle();
    expect(b.files).toEqual({ doc: "two" });
    expect(stage.hubEvents.some(({ type }) => type === "deleted")).toBe(false);
  });

  test("ignored files stay here, and are said to", () => {
    const { stage, a, b } = two(43);
    a.write(".drayignore", "*.log\nbuild/\n");
    stage.settle();
    a.write("x.log", "1");
    a.write("build/out", "2");
    a.write("kept", "3");
    stage.settle();
    expect(b.files).toEqual({ ".drayignore": "*.log\nbuild/\n", kept: "3" });
    const ignored = [...a.agent.files()].filter(({ state }) => state === "ignored");
    expect(ignored.map(({ name }) => name).toSorted()).toEqual(["build", "x.log"]);
  });

  test("what the server has is not asked for when it is ignored here", () => {
    const { stage, a } = two(47);
    a.write("x.log", "1");
    a.write("kept", "2");
    stage.settle();
    a.write(".drayignore", "*.log\n");
    stage.settle();
    stage.hubEvents.length = 0;
    const late = stage.client();
    late.write(".drayignore", "*.log\n");
    late.start();
    stage.settle();
    expect(late.files).toEqual({ ".drayignore": "*.log\n", kept: "2" });
    expect(stage.hubEvents.filter((event) => "name" in event && event.name === "x.log")).toEqual([]);
    const refused = [...late.agent.files()].filter(({ state }) => state === "refused");
    expect(refused.map(({ name }) => name)).toEqual(["x.log"]);
  });
});

describe("names that a careless eye takes for the same", () => {
  test("are not both synced: the second one stays where it is, and waits in silence", () => {
    const { stage, a, b } = two(51);
    stage.settle();
    a.write("readme", "by a");
    b.write("README", "by b");
    stage.settle();
    const [first] = Object.keys(stage.serverFiles);
    expect(Object.keys(stage.serverFiles)).toHaveLength(1);
    const count = stage.hubEvents.length;
    stage.world.clock.pass(300_000);
    expect(stage.hubEvents.length).toBe(count);
    expect([a.files, b.files]).toEqual([{ readme: "by a" }, { README: "by b" }]);
    const [winner, loser] = first === "readme" ? [a, b] : [b, a];
    winner.remove(first!);
    stage.settle();
    expect(stage.serverFiles).toEqual(loser.files);
    expect(winner.files).toEqual(loser.files);
  });
});
