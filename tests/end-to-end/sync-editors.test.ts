import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { endStartedPrograms } from "../support/process.ts";
import { SyncParty } from "../support/sync-party.ts";

setDefaultTimeout(120_000);
afterEach(endStartedPrograms);

/** Contents that say themselves whether they are whole. */
function whole(number: number, lines = 3000): string {
  return `begin ${number}\n${`line of ${number}\n`.repeat(lines)}end ${number}\n`;
}

function isWhole(content: string | undefined): boolean {
  if (content === undefined || content === "") return content === undefined;
  const number = /^begin (\d+)\n/.exec(content)?.[1];
  return number !== undefined && content.endsWith(`end ${number}\n`);
}

/** How editors and other programs save. */
const SAVES: Record<string, (path: string, content: string) => void> = {
  "in place: truncate and write": (path, content) => writeFileSync(path, content),
  "in two steps: truncate, then write in portions": (path, content) => {
    const file = openSync(path, "r+");
    ftruncateSync(file);
    for (let at = 0; at < content.length; at += 4096) writeSync(file, content.slice(at, at + 4096), at);
    closeSync(file);
  },
  "over a new file and a rename": (path, content) => {
    writeFileSync(`${path}.tmp12`, content);
    renameSync(`${path}.tmp12`, path);
  },
  // vim with its defaults: the old one moved to NAME~, a new one written and synced, NAME~ removed.
  "like vim": (path, content) => {
    writeFileSync(path.replace(/[^/]*$/, ".$&.swp"), "swap");
    renameSync(path, `${path}~`);
    const file = openSync(path, "wx");
    writeSync(file, content);
    fsyncSync(file);
    closeSync(file);
    rmSync(`${path}~`);
    rmSync(path.replace(/[^/]*$/, ".$&.swp"));
  },
  "by removing and writing anew": (path, content) => {
    rmSync(path);
    writeFileSync(path, content);
  },
};

for (const [how, save] of Object.entries(SAVES)) {
  test(`a file that is saved ${how} is one update, and whole everywhere`, async () => {
    await using party = await SyncParty.start(["anna", "bert"]);
    party.write("anna", "doc.txt", whole(0));
    await party.untilHas("bert", "doc.txt", whole(0));
    const seen: (string | undefined)[] = [];
    for (let number = 1; number <= 5; number++) {
      save(party.folder("anna", "doc.txt"), whole(number));
      await party.until(() => {
        const content = party.read("bert", "doc.txt");
        seen.push(content);
        return content === whole(number);
      }, `version ${number} at bert`);
    }
    expect(seen.filter((content) => !isWhole(content))).toEqual([]);
    expect(seen).not.toContain(undefined);
    await party.untilSame(["anna", "bert"]);
    expect(party.names("bert")).toEqual(["doc.txt"]);
    expect(party.events("bert", "conflict")).toEqual([]);
    // Neither a backup nor a swap file, nor a delete between two versions, ever reached the server.
    const said = party
      .program("server")
      .events.filter(({ type }) => type === "changed" || type === "deleted");
    expect(said.map(({ type, name }) => `${type} ${String(name)}`)).toEqual(
      Array<string>(6).fill("changed doc.txt"),
    );
  });
}

test("a file to which something is appended for some seconds is seen in whole lines only, and whole at the end", async () => {
  await using party = await SyncParty.start(["anna", "bert"]);
  const file = openSync(party.folder("anna", "log"), "a");
  const seen = new Set<string | undefined>();
  let written = "";
  const untilMs = performance.now() + 4_000;
  for (let line = 0; performance.now() < untilMs; line++) {
    const text = `line ${line} of a log that grows\n`;
    writeSync(file, text);
    written += text;
    seen.add(party.read("bert", "log"));
    await Bun.sleep(15);
  }
  closeSync(file);
  await party.untilHas("bert", "log", written);
  for (const content of seen) {
    expect(content === undefined || (written.startsWith(content) && content.endsWith("\n"))).toBe(true);
  }
  expect(party.events("bert", "conflict")).toEqual([]);
});
