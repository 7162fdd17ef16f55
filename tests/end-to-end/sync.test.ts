import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, renameSync, symlinkSync } from "node:fs";
import { endStartedPrograms, runDray } from "../support/process.ts";
import { SyncParty } from "../support/sync-party.ts";

setDefaultTimeout(120_000);
afterEach(endStartedPrograms);

/** The compiled server, and two or three compiled clients. */

describe("what happens in one folder happens in the others", () => {
  test("new files, edits, renames and deletes", async () => {
    await using party = await SyncParty.start(["anna", "bert", "cleo"]);
    party.write("anna", "docs/deep/plan.txt", "first");
    party.write("bert", "large", "0123456789".repeat(300_000));
    party.write("cleo", "empty", "");
    await party.until(
      () => ["anna", "bert", "cleo"].every((name) => party.names(name).length === 3),
      "three files",
    );
    await party.untilSame(["anna", "bert", "cleo"]);
    party.write("bert", "docs/deep/plan.txt", "second");
    for (const name of ["anna", "cleo"]) await party.untilHas(name, "docs/deep/plan.txt", "second");
    renameSync(party.folder("anna", "docs"), party.folder("anna", "papers"));
    party.remove("cleo", "empty");
    await party.untilHas("bert", "papers/deep/plan.txt", "second");
    await party.until(() => party.names("bert").length === 2, "the deletes");
    await party.untilSame(["anna", "bert", "cleo"]);
    expect(party.names("anna")).toEqual(["large", "papers/deep/plan.txt"]);
    expect(party.versions("server")).toContain("first");
  });

  test("also what was done while a client did not run, or the server did not", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    party.write("anna", "edited", "1");
    party.write("anna", "deleted", "2");
    await party.untilHas("bert", "edited", "1");
    await party.untilHas("bert", "deleted", "2");
    await party.stop("bert");
    party.write("bert", "edited", "1b");
    party.write("bert", "new", "3");
    party.remove("bert", "deleted");
    await party.stop("server");
    party.write("anna", "offline", "4");
    await party.startServer();
    await party.startClient("bert");
    await party.untilHas("anna", "edited", "1b");
    await party.untilHas("anna", "new", "3");
    await party.untilHas("anna", "deleted", undefined);
    await party.untilHas("bert", "offline", "4");
    await party.untilSame(["anna", "bert"]);
  });

  test("both edit: one content stays, the other is a conflict copy, everywhere", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    party.write("anna", "plan.txt", "base");
    await party.untilHas("bert", "plan.txt", "base");
    await party.stop("bert");
    party.write("bert", "plan.txt", "by bert");
    party.write("anna", "plan.txt", "by anna");
    await party.untilHas("server", "plan.txt", "by anna");
    await party.startClient("bert");
    await party.until(() => party.names("anna").length === 2, "the conflict copy");
    await party.untilSame(["anna", "bert"]);
    const copy = party.names("anna").find((name) => name !== "plan.txt")!;
    expect(copy).toMatch(/^plan \(conflict \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d .+\)\.txt$/);
    expect([party.read("anna", "plan.txt"), party.read("anna", copy)]).toEqual(["by anna", "by bert"]);
    expect(party.events("bert", "conflict")).toEqual([{ type: "conflict", name: "plan.txt", copy }]);
  });
});

describe("deletes are guarded", () => {
  test("an emptied folder deletes nothing anywhere until somebody approves", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    for (let number = 0; number < 20; number++) party.write("anna", `d/f${number}`, `content ${number}`);
    await party.until(() => party.names("bert").length === 20, "all files at bert");
    party.remove("anna", "d");
    const held = await party.program("anna").event("held");
    expect(held).toEqual({ type: "held", message: "all 20 files are missing", files: 20, approvable: true });
    const status = await party.ask("anna", "--status", "--json");
    expect(status.events.filter(({ state }) => state === "held")).toHaveLength(20);
    expect((await party.ask("anna", "--status")).stdout).toContain("HELD: all 20 files are missing");
    expect([party.names("bert").length, party.names("server").length]).toEqual([20, 20]);

    const approved = await party.ask("anna", "--approve");
    expect(approved).toMatchObject({ code: 0, stdout: "20 files are deleted on the other side\n" });
    await party.until(() => party.names("bert").length === 0, "the deletes at bert");
    expect(party.versions("bert")).toHaveLength(20);
  });

  test("or brings the files back", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    for (let number = 0; number < 10; number++) party.write("anna", `f${number}`, `content ${number}`);
    await party.until(() => party.names("bert").length === 10, "all files at bert");
    await party.stop("anna");
    for (let number = 0; number < 10; number++) party.remove("anna", `f${number}`);
    await party.startClient("anna");
    await party.program("anna").event("held");
    expect((await party.ask("anna", "--bring-back", "--json")).events).toEqual([
      { type: "result", files: 10 },
    ]);
    await party.until(() => party.names("anna").length === 10, "all files at anna");
    await party.untilSame(["anna", "bert"]);
  });

  test("a folder that is replaced by an empty one while a client runs deletes nothing", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    party.write("anna", "one", "1");
    party.write("anna", "two", "2");
    await party.untilHas("bert", "two", "2");
    await party.untilHas("bert", "one", "1");
    renameSync(party.folder("anna"), party.folder("elsewhere"));
    mkdirSync(party.folder("anna"));
    party.write("bert", "three", "3");
    await party.untilHas("server", "three", "3");
    await Bun.sleep(1500);
    expect(party.names("bert")).toEqual(["one", "three", "two"]);
    expect(party.names("server")).toEqual(["one", "three", "two"]);
  });
});

describe("for people", () => {
  test("status says what is in sync, what is left out, and why", async () => {
    await using party = await SyncParty.start(["anna"]);
    party.write("anna", "fine", "1");
    symlinkSync("fine", party.folder("anna", "link"));
    party.write("anna", ".drayignore", "*.log\n");
    await party.untilHas("server", ".drayignore", "*.log\n");
    party.write("anna", "x.log", "2");
    mkdirSync(party.folder("anna", "hollow"));
    await party.untilHas("server", "fine", "1");
    await party.stop("anna");
    await party.startClient("anna");
    const { code, stdout } = await party.ask("anna", "--status");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^connected to 127\.0\.0\.1:\d+\n2 files in sync, 3 not\n/);
    for (const line of [
      /ignored {3}link: .*symbolic link/,
      /ignored {3}x\.log: /,
      /ignored {3}hollow: .*empty/,
    ]) {
      expect(stdout).toMatch(line);
    }
    await party.stop("anna");
    party.write("anna", "fine", "changed");
    const atRest = await party.ask("anna", "--status");
    expect(atRest.stdout).toStartWith("no client runs on this folder");
    expect(atRest.stdout).toContain("waiting   fine: it was changed here");
  });

  test("history lists earlier contents, restore brings one back everywhere", async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    for (const content of ["one", "two", "three"]) {
      party.write("anna", "plan.txt", content);
      await party.untilHas("bert", "plan.txt", content);
    }
    const history = await party.ask("bert", "--history", "plan.txt", "--json");
    const versions = history.events.filter(({ type }) => type === "version");
    expect(versions.map(({ sizeBytes, reason }) => [sizeBytes, reason])).toEqual([
      [3, "replaced"],
      [3, "replaced"],
    ]);
    const oldest = String(versions[1]!["id"]);
    expect((await party.ask("bert", "--history", "plan.txt")).stdout).toContain(`${oldest}  `);
    expect((await party.ask("bert", "--restore", `plan.txt@${oldest}`)).code).toBe(0);
    await party.untilHas("anna", "plan.txt", "one");
    expect(party.versions("bert")).toContain("three");

    party.remove("anna", "plan.txt");
    await party.untilHas("bert", "plan.txt", undefined);
    expect((await party.ask("bert", "--restore", "plan.txt")).code).toBe(0);
    await party.untilHas("anna", "plan.txt", "one");
  });

  test("what cannot be asked is said in a sentence", async () => {
    await using party = await SyncParty.start(["anna"]);
    const { code, stderr } = await party.ask("anna", "--history", "nothing");
    expect([code, stderr]).toEqual([4, "dray sync-client: no earlier content of nothing is kept\n"]);
    expect((await party.ask("nobody", "--status")).code).toBe(4);
    await party.stop("anna");
    const approve = await party.ask("anna", "--approve");
    expect([approve.code, approve.stderr]).toEqual([
      7,
      `dray sync-client: no sync client runs on ${party.folder("anna")}\n`,
    ]);
    const both = await party.ask("anna", "--status", "--approve");
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("only one of these can be given")]);
  });

  test("a second client on the same folder is refused, and does no harm", async () => {
    await using party = await SyncParty.start(["anna"]);
    const args = ["sync-client", "127.0.0.1", "1", "2", party.folder("anna"), "1k"];
    const { code, stderr } = await runDray(args);
    expect(code).toBe(6);
    expect(stderr).toContain("another dray is using it");
    party.write("anna", "still", "works");
    await party.untilHas("server", "still", "works");
  });
});
