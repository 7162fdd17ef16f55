import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, rmSync } from "node:fs";
import type { OrderResult } from "../../src/wire/order.ts";
import { MirrorOrders } from "../support/mirror-orders.ts";
import { startProxy } from "../support/proxy.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { type ListAsked, type ScriptedConnection, ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { makeManyFiles } from "../support/tree.ts";
import { leavesOf, snapshotOf } from "../support/tree-snapshot.ts";
import { entries, errorFrame, listed, type WireEntry } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const FILES = 40;
/** So that only what is under test can keep files from being deleted. */
const DELETE = ["--delete", "--max-delete-percent", "100"];
const QUICK = ["--patience", "0", "--attempts", "1"];

const pathOf = (index: number): string => `${index % 2 === 0 ? "docs" : "more"}/file-${index}`;
const contentsOf = (path: string): Buffer => Buffer.from(`the contents of ${path}`);
const entryOf = (path: string): WireEntry => ({ path, size: contentsOf(path).length });
const ALL = Array.from({ length: FILES }, (_, index) => pathOf(index));
/** What a source that is in order still has: a good half. */
const LEFT = ALL.slice(0, 25);

type Listing = (connection: ScriptedConnection, asked: ListAsked) => void;

/** Sends half of what is left, in one message. */
function sendHalf(connection: ScriptedConnection, { id }: ListAsked): void {
  connection.send(entries(id, LEFT.slice(0, 12).map(entryOf)));
}

interface Trouble {
  code: number;
  /** The source's guard speaks of this. */
  guard?: RegExp;
  status?: string;
  list?: Listing;
  /** No file but these comes. */
  serves?: (path: string) => boolean;
  path?: string;
}

const TROUBLES: Record<string, Trouble> = {
  "is empty": {
    code: 8,
    guard: /no files at all; 40 files would have been deleted/,
    list: (connection, asked) => connection.sendList(asked, []),
  },
  "holds nothing but directories": {
    code: 8,
    guard: /no files at all/,
    list: (connection, asked) =>
      connection.sendList(asked, [
        { kind: "directory", path: "docs" },
        { kind: "directory", path: "more" },
      ]),
  },
  "holds nothing but links that are left out": {
    code: 8,
    guard: /no files at all/,
    list: (connection, asked) => connection.sendList(asked, [{ kind: "symlink", path: "a", target: "b" }]),
  },
  "ends orderly in the middle": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.end();
    },
  },
  "is cut off by a reset": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.onDrained = () => connection.reset();
      setTimeout(() => connection.reset(), 50);
    },
  },
  "ends before it has begun": {
    code: 7,
    status: "unreachable",
    list: (connection) => connection.end(),
  },
  "is refused": {
    code: 6,
    status: "refused",
    list: (connection, { id }) => void connection.send(errorFrame(id, 9, "not for you")),
  },
  "ends in an error": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.send(errorFrame(asked.id, 16, "my disk failed"));
    },
  },
  "ends with a count of one file more than it held": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.send(listed(asked.id, 13, 0, 0));
    },
  },
  "ends with a count of fewer": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.send(listed(asked.id, 0, 0, 0));
    },
  },
  "ends with counts of other kinds": {
    code: 3,
    status: "partial",
    list: (connection, asked) => {
      sendHalf(connection, asked);
      connection.send(listed(asked.id, 6, 6, 0));
    },
  },
  "says that there is nothing of that name": {
    code: 4,
    status: "not-found",
    list: (connection, { id }) => void connection.send(errorFrame(id, 4, "no such file or directory")),
  },
  "holds a directory that the source may not read": {
    code: 3,
    status: "partial",
    list: (connection, asked) =>
      connection.sendList(asked, [...LEFT.map(entryOf), { kind: "unreadable", path: "more" }]),
  },
  "holds a name that cannot be carried": {
    code: 3,
    status: "partial",
    list: (connection, asked) =>
      connection.sendList(asked, [...LEFT.map(entryOf), { kind: "unnameable", path: "more/\\xff" }]),
  },
  "holds a name that is none": {
    code: 3,
    status: "partial",
    list: (connection, asked) => connection.sendList(asked, [...LEFT.map(entryOf), { path: "../x" }]),
  },
  "is right, but one of its new files does not come": {
    code: 3,
    status: "partial",
    list: (connection, asked) => connection.sendList(asked, [...LEFT, "new"].map(entryOf)),
    serves: (path) => path !== "new",
  },
  "is right, but a file that changed does not come": {
    code: 3,
    status: "partial",
    list: (connection, asked) =>
      connection.sendList(asked, [{ path: "docs/file-0", size: 9 }, ...LEFT.slice(1).map(entryOf)]),
    serves: () => false,
  },
};

interface Scene extends AsyncDisposable {
  stage: Stage;
  source: ScriptedSource;
  /** How the source behaves from now on. */
  turn(trouble: { list?: Listing | undefined; serves?: ((path: string) => boolean) | undefined }): void;
  /** Everything but the mirror's own state. */
  tree(): Record<string, string>;
  trash(): string[];
}

/** A mirror that holds all of a source, which from then on does what it is told to. */
async function openScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const stage = stack.use(await Stage.open());
  const honest: Listing = (connection, asked) => connection.sendList(asked, ALL.map(entryOf));
  let list = honest;
  let serves: (path: string) => boolean = () => true;
  const source = stack.use(
    new ScriptedSource({
      list: (connection, asked) => list(connection, asked),
      fetch: (connection, asked) => {
        if (serves(asked.path)) connection.sendFile(asked, contentsOf(asked.path));
        else connection.send(errorFrame(asked.id, 9, "not this one"));
      },
    }),
  );
  expect((await stage.order([sourceText(source)])).code).toBe(0);
  const moved = stack.move();
  return {
    ...{ stage, source },
    turn: (trouble) => {
      list = trouble.list ?? honest;
      serves = trouble.serves ?? (() => true);
    },
    tree: () => snapshotOf(stage.mirrorDirectory, { metadata: true, except: [".dray"] }),
    trash: () => leavesOf(snapshotOf(`${stage.mirrorDirectory}/.dray/trash`)),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

describe("--delete deletes nothing when the source's list", () => {
  test("has any trouble, however often it is tried; and then what the source really lacks", async () => {
    await using scene = await openScene();
    const { stage, source } = scene;
    const before = scene.tree();
    expect(leavesOf(before)).toHaveLength(FILES);
    for (const [what, trouble] of Object.entries(TROUBLES)) {
      scene.turn(trouble);
      const { code, result, stderr } = await stage.order([sourceText(source, trouble.path)], {
        flags: [...DELETE, ...QUICK],
      });
      const [only] = result.sources;
      expect([what, code]).toEqual([what, trouble.code]);
      expect([what, scene.tree(), scene.trash()]).toEqual([what, before, []]);
      expect([what, result.deleted, only!.deleted]).toEqual([what, 0, 0]);
      if (trouble.status !== undefined) expect([what, only!.status]).toEqual([what, trouble.status]);
      if (trouble.guard === undefined) expect([what, only!.guard]).toEqual([what, undefined]);
      else expect(only!.guard).toMatch(trouble.guard);
      expect(stderr).not.toContain("internal");
    }
    // Nothing of all that keeps the next order from doing what it should.
    scene.turn({ list: (connection, asked) => connection.sendList(asked, LEFT.map(entryOf)) });
    const { code, result } = await stage.order([sourceText(source)], { flags: [...DELETE, ...QUICK] });
    expect([code, result.deleted]).toEqual([0, FILES - LEFT.length]);
    expect(leavesOf(scene.tree()).map((path) => path.slice(path.indexOf("/") + 1))).toEqual([...LEFT].sort());
    expect(scene.trash()).toHaveLength(FILES - LEFT.length);
  });

  test("cannot be had: the source is not there, or has gone for good", async () => {
    await using scene = await openScene();
    const { stage, source } = scene;
    const before = scene.tree();
    source[Symbol.dispose]();
    const { code, result } = await stage.order([sourceText(source)], { flags: [...DELETE, ...QUICK] });
    expect([code, result.sources[0]!.status]).toEqual([7, "unreachable"]);
    expect([scene.tree(), scene.trash()]).toEqual([before, []]);
  });

  test("has no trouble, but another source of the same order has: then only that one's files stay", async () => {
    await using scene = await openScene();
    const { stage, source } = scene;
    const good = await stage.content("good", (directory) =>
      makeManyFiles(directory, { seed: 1, count: 20, directories: 2, minBytes: 0, maxBytes: 100 }),
    );
    expect((await stage.order([sourceText(good)])).code).toBe(0);
    rmSync(`${good.directory}/group-0`, { recursive: true });
    scene.turn(TROUBLES["ends in an error"]!);
    const { code, result } = await stage.order([sourceText(source), sourceText(good)], {
      flags: [...DELETE, ...QUICK],
    });
    expect(code).toBe(3);
    expect(result.sources.map(({ deleted }) => deleted)).toEqual([0, 10]);
    expect(leavesOf(snapshotOf(stage.treeOf(source)))).toHaveLength(FILES);
    expect(leavesOf(snapshotOf(stage.treeOf(good)))).toHaveLength(10);
  });
});

test("a connection that is damaged at any place of the list never leads to a delete", async () => {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) =>
    makeManyFiles(directory, { seed: 1, count: 40, directories: 4, minBytes: 0, maxBytes: 100 }),
  );
  let faults: Parameters<typeof startProxy>[0]["faults"] = [];
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: content.port },
    faults: (connection) => (typeof faults === "function" ? faults(connection) : (faults ?? [])),
  });
  expect((await stage.order([sourceText(proxy)])).code).toBe(0);
  for (const directory of ["dir-1", "dir-3"]) {
    rmSync(`${content.directory}/group-${directory.slice(4)}/${directory}`, { recursive: true });
  }
  const before = snapshotOf(stage.treeOf(proxy), { metadata: true });
  // Nothing is fetched, so that one whole connection is one whole list.
  const known = proxy.connections.length;
  const dry = await stage.order([sourceText(proxy)], { flags: [...DELETE, "--dry-run"] });
  expect(dry.result.plan).toMatchObject({ files: 0, deletions: 20 });
  const listBytes = proxy.connections[known]!.bytesToClient;
  expect(listBytes).toBeGreaterThan(500);

  for (const share of [0.1, 0.5, 0.9, 1]) {
    const atByte = Math.floor(share * (listBytes - 1));
    for (const fault of [
      { kind: "cut", atByte, how: "fin" },
      { kind: "cut", atByte, how: "rst" },
      { kind: "flip", atByte, bit: 3 },
    ] as const) {
      faults = [fault];
      const flags = [...DELETE, ...QUICK, "--timeout", "5s"];
      const { code, result } = await stage.order([sourceText(proxy)], { flags });
      expect([fault, result.deleted, code === 0]).toEqual([fault, 0, false]);
      expect(snapshotOf(stage.treeOf(proxy), { metadata: true })).toEqual(before);
      expect(existsSync(`${stage.mirrorDirectory}/.dray/trash`)).toBe(false);
    }
  }
  faults = [];
  const { code, result } = await stage.order([sourceText(proxy)], { flags: DELETE });
  expect([code, result.deleted]).toEqual([0, 20]);
});

test("a mirror that is killed while it deletes goes on, and every file is in one place", async () => {
  const [groups, filesPerGroup] = [60, 50];
  using folder = ramFolder(100_000_000);
  const data = folder.join("data");
  makeManyFiles(data, {
    seed: 7,
    count: groups * filesPerGroup,
    directories: groups,
    minBytes: 1,
    maxBytes: 60,
  });
  await Bun.write(`${data}/stays/a`, "stays");
  await using content = await SteadyServer.content(data);
  await using mirror = await SteadyServer.mirror(folder.join("mirror"), ["--durability", "none"]);
  const orders = new MirrorOrders(mirror);
  expect((await orders.ask(["-s", sourceText(content)])).code).toBe(0);
  const host = `127.0.0.1_${content.port}`;
  const tree = `${mirror.directory}/${host}`;
  const whole = snapshotOf(tree, { metadata: true });
  const files = leavesOf(whole);
  for (const name of readdirSync(data)) if (name !== "stays") rmSync(`${data}/${name}`, { recursive: true });

  const trash = `${mirror.directory}/.dray/trash`;
  /** Directories of which something has gone. */
  const begun = (): number => {
    const [label] = existsSync(trash) ? readdirSync(trash) : [];
    if (label === undefined || !existsSync(`${trash}/${label}/${host}`)) return 0;
    const at = `${trash}/${label}/${host}`;
    return readdirSync(at).reduce((sum, group) => sum + readdirSync(`${at}/${group}`).length, 0);
  };
  /** Each file is in the tree or in the trash, as it was; never in both. */
  const check = (): number => {
    const here = snapshotOf(tree, { metadata: true });
    const [label] = existsSync(trash) ? readdirSync(trash) : [];
    const gone = label === undefined ? {} : snapshotOf(`${trash}/${label}/${host}`, { metadata: true });
    const lost = files.filter((path) => here[path] !== whole[path] && gone[path] !== whole[path]);
    const twice = leavesOf(here).filter((path) => gone[path] !== undefined);
    expect([lost, twice]).toEqual([[], []]);
    expect(leavesOf(here).length + leavesOf(gone).length).toBe(files.length);
    return leavesOf(gone).length;
  };

  await using initiator = orders.start("-s", sourceText(content), ...DELETE, "--itemize", "--timeout", "1m");
  let isDone = false;
  void initiator.exit.then(() => (isDone = true));
  let killedInTheMiddle = 0;
  for (const moment of [1, 15, 25, 40, 55]) {
    while (!isDone && begun() < moment) await Bun.sleep(1);
    if (isDone) break;
    await mirror.stop("SIGKILL");
    const gone = check();
    if (gone > 0 && gone < files.length - 1) killedInTheMiddle++;
    await mirror.start();
  }
  const { code, events } = await initiator.finished({ timeoutMs: 60_000 });
  expect(killedInTheMiddle).toBeGreaterThan(1);
  expect(code).toBe(0);
  expect(check()).toBe(files.length - 1);
  expect(readdirSync(trash)).toHaveLength(1);
  expect(Object.keys(snapshotOf(tree))).toEqual(["stays", "stays/a"]);
  const result = events.at(-1) as unknown as OrderResult;
  // What went just before a kill may not be in the count; nothing is in it twice.
  expect(result.deleted).toBeLessThanOrEqual(files.length - 1);
  expect(result.deleted).toBeGreaterThanOrEqual(files.length - 1 - 256 * (killedInTheMiddle + 1));
  const items = events.filter(({ type }) => type === "item").map(({ path }) => path);
  expect(new Set(items).size).toBe(items.length);
  expect(items).toHaveLength(result.deleted);
});

test.each([false, true])(
  "what another order has just brought is not deleted by one whose list is older (killed in between: %p)",
  async (isKilled) => {
    await using stack = new AsyncDisposableStack();
    const mirror = stack.use(await SteadyServer.mirror(stack.use(ramFolder(10_000_000)).join("mirror")));
    const orders = new MirrorOrders(mirror);
    let list = ["keep", "old", "docs/old"];
    let isHolding = false;
    const held: (() => void)[] = [];
    const source = stack.use(
      new ScriptedSource({
        list: (connection, asked) => {
          const wanted = asked.path === "." ? list : list.filter((path) => path.startsWith(`${asked.path}/`));
          connection.sendList(asked, wanted.map(entryOf));
        },
        fetch: (connection, asked) => {
          const send = (): void => connection.sendFile(asked, contentsOf(asked.path));
          if (isHolding && asked.path === "slow") held.push(send);
          else send();
        },
      }),
    );
    const tree = (): string[] => Object.keys(snapshotOf(`${mirror.directory}/127.0.0.1_${source.port}`));
    expect((await orders.ask(["-s", sourceText(source)])).code).toBe(0);

    list = ["keep", "slow"];
    isHolding = true;
    const deleting = stack.use(orders.start("-s", sourceText(source), ...DELETE, "--timeout", "1m"));
    await source.until(() => held[0], "the file that holds the order up");
    list = ["keep", "slow", "docs/new"];
    expect((await orders.ask(["-s", sourceText(source, "docs")])).code).toBe(0);
    if (isKilled) {
      await mirror.stop("SIGKILL");
      isHolding = false;
      await mirror.start();
    } else {
      held[0]!();
    }
    const { code, events } = await deleting.finished();
    expect([code, events.at(-1)!["deleted"]]).toEqual([0, 2]);
    expect(tree()).toEqual(["docs", "docs/new", "keep", "slow"]);
    // Left alone, it goes as everything else does.
    isHolding = false;
    list = ["keep", "slow"];
    expect((await orders.ask(["-s", sourceText(source), ...DELETE])).code).toBe(0);
    expect(tree()).toEqual(["keep", "slow"]);
  },
);

test("an order that is tried again does not delete what came the first time", async () => {
  await using scene = await openScene();
  const { stage, source } = scene;
  // Few enough that no guard would object.
  const files = ALL.slice(0, 6);
  const list: Listing = (connection, asked) => connection.sendList(asked, [...files, "new"].map(entryOf));
  scene.turn({ list });
  expect((await stage.order([sourceText(source)], { flags: [...DELETE, "--exclude", "new"] })).code).toBe(0);
  const before = Object.keys(scene.tree());
  for (const extra of [[], ["--itemize"]]) {
    scene.turn({ list, serves: (path) => path !== "new" });
    const failed = await stage.order([sourceText(source)], { flags: [...DELETE, ...QUICK, ...extra] });
    expect([failed.code, failed.result.deleted]).toEqual([3, 0]);
    scene.turn({ list });
    const orders = new MirrorOrders({ port: stage.mirrorPort });
    const { code, events } = await orders.ask(["--retry-failed", failed.result.orderId, "--json"]);
    expect([extra, code, events.at(-1)!["deleted"]]).toEqual([extra, 0, 0]);
    const host = `127.0.0.1_${source.port}`;
    expect(Object.keys(scene.tree()).sort()).toEqual([...before, `${host}/new`].sort());
    rmSync(`${stage.mirrorDirectory}/${host}/new`);
  }
});
