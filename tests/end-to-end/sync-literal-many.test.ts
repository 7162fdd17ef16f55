import { expect, test } from "bun:test";
import { readFileSync, readdirSync } from "node:fs";
import type { LiteralSyncClient } from "../support/literal-sync-client.ts";
import { SyncServerStage, userFiles } from "../support/literal-sync-stage.ts";
import { type Random, seededRandom } from "../support/random.ts";

/** Several literal clients at once, which know nothing of each other, and of what they overwrite. */

const NAMES = ["a", "b", "c", "sub/d", "sub/e", "sub/deep/f"];
const STEPS = 40;

/** All contents below a folder, by name. */
function contentsOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    userFiles(folder).map((name) => [name, readFileSync(`${folder}/${name}`, "utf8")]),
  );
}

function keptVersions(stage: SyncServerStage): string[] {
  return readdirSync(stage.path("server", ".dray", "versions"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, "utf8"));
}

/** One client's user: saves and deletes. @returns what the server has confirmed */
async function work(client: LiteralSyncClient, random: Random, who: string): Promise<string[]> {
  const confirmed: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    const name = NAMES[random.integer(0, NAMES.length - 1)]!;
    if (random.next() < 0.2) {
      if (client.files.remove(name)) await client.delete(name);
      continue;
    }
    if (client.files.isOpen(name)) continue;
    const text = `${who} ${step} `.repeat(random.integer(0, 30));
    client.files.write(name, text);
    if (random.next() < 0.1) client.wrongDigests = random.integer(1, 3);
    if ((await client.upload(name)) === "sent") confirmed.push(text);
    client.wrongDigests = 0;
  }
  return confirmed;
}

/** Every client saves a file, and waits for those of the others. */
async function exchangeMarks(
  clients: readonly LiteralSyncClient[],
  whos: readonly string[],
  round: number,
): Promise<void> {
  const marks = whos.map((who) => `mark-${round}-${who}`);
  for (const [index, client] of clients.entries()) {
    client.files.write(marks[index]!, "here");
    expect(await client.upload(marks[index]!)).toBe("sent");
  }
  for (const client of clients) for (const mark of marks) await client.untilHas(mark, "here");
}

test.each([1, 2, 3])(
  "whatever three clients do, all end the same and nothing confirmed is lost (%d)",
  async (seed) => {
    await using stage = await SyncServerStage.start(["--chunk-size", "50", "--versions-per-file", "1000"]);
    const whos = ["ann", "bob", "cat"];
    const clients = await Promise.all(whos.map((who) => stage.client(who, { chunkSize: 40 })));
    const confirmed = await Promise.all(
      clients.map((client, index) => work(client, seededRandom(seed * 10 + index), whos[index]!)),
    );
    // One goes, changes nothing, and comes back.
    await clients[2]![Symbol.asyncDispose]();
    const back = await stage.client("cat", { chunkSize: 40 });

    // What was still on its way comes before these, and what that caused before the second ones.
    for (const round of [1, 2]) await exchangeMarks([clients[0]!, clients[1]!, back], whos, round);
    const server = contentsOf(stage.path("server"));
    for (const who of whos) expect({ who, ...contentsOf(stage.path(who)) }).toEqual({ who, ...server });

    const kept = new Set([...Object.values(server), ...keptVersions(stage)]);
    expect(confirmed.flat().length).toBeGreaterThan(STEPS);
    expect(confirmed.flat().filter((text) => !kept.has(text))).toEqual([]);
  },
);
