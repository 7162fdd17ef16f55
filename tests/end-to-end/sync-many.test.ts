import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { endStartedPrograms } from "../support/process.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { SyncParty } from "../support/sync-party.ts";

setDefaultTimeout(300_000);
afterEach(endStartedPrograms);

const FILES = 2_000;
const CLIENTS = ["anna", "bert", "cleo"] as const;

test("three clients, 2,000 files, edits, renames and deletes everywhere, one client away for part of it", async () => {
  const random = seededRandom(7);
  await using party = await SyncParty.start(CLIENTS, ["--versions-per-file", "1000"]);
  const saved = new Set<string>();
  const save = (name: string, file: string): void => {
    const content = `${saved.size} of ${name}: ${"x".repeat(random.integer(0, 2000))}`;
    saved.add(content);
    party.write(name, file, content);
  };

  for (let number = 0; number < FILES; number++) {
    save(CLIENTS[number % 3]!, `dir${number % 40}/file${number}`);
  }
  await party.until(
    () => CLIENTS.every((name) => party.names(name).length === FILES),
    "all files everywhere",
  );
  await party.untilSame(CLIENTS);

  busy(party, CLIENTS, random, save, 200);
  await party.stop("cleo");
  // Offline and online at once, the same files among them.
  busy(party, CLIENTS, random, save, 300);
  await Bun.sleep(1000);
  await party.startClient("cleo");
  busy(party, CLIENTS, random, save, 200);

  await party.untilSame(CLIENTS);
  const kept = new Set<string>();
  for (const name of ["server", ...CLIENTS]) {
    for (const file of party.names(name)) kept.add(readFileSync(party.folder(name, file), "utf8"));
    for (const content of party.versions(name)) kept.add(content);
  }
  expect([...saved].filter((content) => !kept.has(content))).toEqual([]);
  expect(CLIENTS.flatMap((name) => party.events(name, "held"))).toEqual([]);
});

/** Things that users do, one behind the other without waiting for anybody. */
function busy(
  party: SyncParty,
  clients: readonly string[],
  random: Random,
  save: (name: string, file: string) => void,
  count: number,
): void {
  for (let step = 0; step < count; step++) {
    const name = clients[random.integer(0, clients.length - 1)]!;
    const number = random.integer(0, FILES - 1);
    const file = `dir${number % 40}/file${number}`;
    const path = party.folder(name, file);
    const dice = random.next();
    // What only this machine has is not overwritten nor deleted: no program could save that.
    const isElsewhere = existsSync(path) && readIfThere(path) === readIfThere(party.folder("server", file));
    if (dice < 0.25) save(name, `new${step % 10}/${name}-${random.integer(0, 1e9)}`);
    else if (!isElsewhere) continue;
    else if (dice < 0.75) save(name, file);
    else if (dice < 0.87) rmSync(path);
    else renameSync(path, `${path}-renamed-${random.integer(0, 1e9)}`);
  }
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
