import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { endStartedPrograms, runDray, startDray } from "../support/process.ts";
import type { Program } from "../support/program.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { SavedContents } from "../support/saved-contents.ts";
import { steadyPort } from "../support/steady-port.ts";
import { tempFolder } from "../support/temp.ts";

/** DRAY_TEST_KILLS=100 is what a release is tested with; DRAY_TEST_SEED tries other moments. */
const KILLS = Number(process.env["DRAY_TEST_KILLS"] ?? 10);
const SEED = Number(process.env["DRAY_TEST_SEED"] ?? 1);
setDefaultTimeout(120_000 + KILLS * 5_000);

/** Who saves files. The third client only receives: what is in its folder, and on the server, was put there by dray. */
const WRITERS = ["anna", "bert"];
const CLIENTS = [...WRITERS, "cleo"];

/** A server and three clients, each of which can be killed and started again. */
class Party implements AsyncDisposable {
  readonly folder: (name: string) => string;
  readonly #programs = new Map<string, Program>();
  readonly #ports: readonly [string, string];
  readonly #said = new Map<string, string>();

  constructor(folder: (name: string) => string, ports: readonly [string, string]) {
    this.folder = folder;
    this.#ports = ports;
  }

  get names(): string[] {
    return ["server", ...CLIENTS];
  }

  start(name: string): void {
    const [send, receive] = this.#ports;
    const versions = ["--versions-per-file", "100000", "--json"];
    this.#programs.set(
      name,
      name === "server"
        ? startDray(["sync-server", send, receive, "--dir", this.folder(name), ...versions])
        : startDray(["sync-client", "127.0.0.1", receive, send, this.folder(name), "64KiB", ...versions]),
    );
  }

  async kill(name: string): Promise<void> {
    const program = this.#programs.get(name)!;
    await program.stop("SIGKILL");
    this.#said.set(name, `${this.#said.get(name) ?? ""}${program.stdoutText()}--- killed ---\n`);
  }

  /** What each program said of a file, and says now, for failures. */
  async describe(file: string): Promise<string> {
    const told = this.names.map(async (name) => {
      const isServer = name === "server";
      const place = isServer ? ["sync-server", "--dir"] : ["sync-client", "--folder"];
      const { stdout } = await runDray([...place, this.folder(name), "--status", "--json"]);
      const now = stdout
        .split("\n")
        .filter((line) => line.includes(`"${file}"`) || !line.includes('"type":"file"'));
      const said = (this.#said.get(name) ?? "") + this.#programs.get(name)!.stdoutText();
      const lines = said.split("\n").filter((line) => line.includes(`"${file}"`));
      return `${name} said:\n${lines.join("\n")}\nand its status is:\n${now.join("\n")}`;
    });
    return (await Promise.all(told)).join("\n");
  }

  async stopAll(): Promise<void> {
    for (const name of this.names.toReversed()) {
      const { code } = await this.#programs.get(name)!.stop("SIGTERM");
      expect(`${name} ended with ${code}`).toBe(`${name} ended with 0`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endStartedPrograms();
  }
}

test(`a server and clients that are killed at ${KILLS} moments of a busy run converge, and lose nothing`, async () => {
  using temp = tempFolder();
  const random = seededRandom(SEED);
  const ports = [String(await steadyPort()), String(await steadyPort())] as const;
  await using party = new Party((name) => temp.join(name), ports);
  for (const name of party.names) fs.mkdirSync(party.folder(name));
  for (const name of party.names) party.start(name);
  const saved = new SavedContents(random);
  const watched = [party.folder("server"), party.folder("cleo")];

  for (let kill = 0; kill < KILLS; kill++) {
    const untilMs = performance.now() + random.integer(100, 1200);
    while (performance.now() < untilMs) {
      for (const writer of WRITERS) act(party.folder(writer), party.folder("server"), saved, random);
      for (const folder of watched) saved.expectWhole(folder);
      await Bun.sleep(random.integer(1, 40));
    }
    const victim = party.names[random.integer(0, party.names.length - 1)]!;
    await party.kill(victim);
    if (random.next() < 0.5) await Bun.sleep(random.integer(0, 600));
    party.start(victim);
  }

  await converged(party, () => watched.forEach((folder) => saved.expectWhole(folder)));
  await party.stopAll();
  const folders = party.names.map((name) => party.folder(name));
  for (const folder of folders) saved.expectWhole(folder);
  expect(saved.lostIn(folders)).toEqual([]);
  for (const folder of folders) expect(fs.readdirSync(join(folder, ".dray/staging"))).toEqual([]);
  expect(saved.count).toBeGreaterThan(KILLS * 5);
});

/** Something that a user does. What only this machine has is never overwritten nor deleted: no program could save that. */
function act(folder: string, server: string, saved: SavedContents, random: Random): void {
  const names = saved.namesIn(folder);
  const known = names[random.integer(0, names.length - 1)];
  const dice = random.next();
  if (known === undefined || dice < 0.5)
    return save(folder, `${random.integer(0, 4)}/${saved.count}`, saved, random);
  if (dice < 0.55) return save(folder, `both/${random.integer(0, 400)}`, saved, random);
  const path = join(folder, known);
  const isElsewhere = fs.existsSync(join(server, known)) && isEqual(path, join(server, known));
  if (!isElsewhere) return;
  if (dice < 0.85) save(folder, known, saved, random);
  else if (dice < 0.95) fs.rmSync(path);
  else fs.renameSync(path, `${path}-renamed-${saved.count}`);
}

function save(folder: string, name: string, saved: SavedContents, random: Random): void {
  const path = join(folder, name);
  if (name.startsWith("both/") && fs.existsSync(path)) return;
  fs.mkdirSync(dirname(path), { recursive: true });
  const content = saved.make();
  if (random.next() < 0.3) return fs.writeFileSync(path, content);
  // As most editors do.
  fs.writeFileSync(join(folder, ".drayignored.swp"), content);
  fs.renameSync(join(folder, ".drayignored.swp"), path);
}

function isEqual(one: string, other: string): boolean {
  try {
    return fs.readFileSync(one).equals(fs.readFileSync(other));
  } catch {
    return false; // one of them is gone: then it is not safe
  }
}

async function converged(party: Party, look: () => void): Promise<void> {
  const deadlineMs = performance.now() + 90_000;
  let differences: { file: string; what: string }[] = [];
  for (let same = 0; same < 5;) {
    if (performance.now() > deadlineMs) {
      const shown = differences.slice(0, 10).map(({ file, what }) => `${file} ${what}`);
      throw new Error(
        `They do not converge: ${shown.join("; ")}\n${await party.describe(differences[0]?.file ?? "")}`,
      );
    }
    // There is no event for "everybody is at rest": several looks in a row have to show the same.
    await Bun.sleep(300);
    look();
    differences = CLIENTS.flatMap((name) => differencesOf(party.folder("server"), party.folder(name), name));
    same = differences.length === 0 ? same + 1 : 0;
  }
}

function differencesOf(server: string, client: string, name: string): { file: string; what: string }[] {
  const left = SavedContents.read(server);
  const right = SavedContents.read(client);
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].flatMap((file) => {
    const [there, here] = [left.get(file), right.get(file)];
    if (there === undefined) return [{ file, what: `is only at ${name}` }];
    if (here === undefined) return [{ file, what: `is missing at ${name}` }];
    return there.equals(here) ? [] : [{ file, what: `is another one at ${name}` }];
  });
}
