import { expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asDrayError } from "../../src/errors/dray-error.ts";
import { Client } from "../../src/transfer/client.ts";
import { putBytes } from "../support/put-bytes.ts";
import { type Random, seededRandom } from "../support/random.ts";
import { SteadyServer } from "../support/steady-server.ts";
import { tempFolder } from "../support/temp.ts";

setDefaultTimeout(120_000);

const OWNERS = { alice: "alice:a-secret-of-alice-1234", bob: "bob:a-secret-of-bob-12345678" } as const;
type Owner = keyof typeof OWNERS;
const NAMES = Array.from({ length: 12 }, (_, index) => `dir-${index % 3}/file-${index}`);
const SIZES = [0, 1, 5_000, 262_144, 900_000];
const ROUNDS = 15;

/** Contents that tell whose they are, and whether they are whole. */
function contentsOf(owner: Owner, version: number): Uint8Array {
  const head = Buffer.from(`${JSON.stringify({ owner, version })}\n`);
  const bytes = new Uint8Array(head.length + SIZES[version % SIZES.length]!);
  seededRandom(version * 2 + (owner === "bob" ? 1 : 0)).fill(bytes);
  bytes.set(head);
  return bytes;
}

/** The owner whose whole version a file is; throws if it is no whole version of anybody's. */
function ownerOf(path: string): Owner {
  const bytes = readFileSync(path);
  const { owner, version } = JSON.parse(bytes.subarray(0, bytes.indexOf("\n")).toString()) as {
    owner: Owner;
    version: number;
  };
  expect(Buffer.compare(bytes, contentsOf(owner, version))).toBe(0);
  return owner;
}

async function connect(server: SteadyServer, owner: Owner): Promise<Client> {
  const { host, port } = server;
  const security = { token: Buffer.from(OWNERS[owner]), tls: undefined };
  return Client.connect({ host, port }, { agent: "test/1", timeoutMs: 20_000, security });
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: unknown) => asDrayError(error).code,
  );

let lastVersion = 0;

/** Puts, removes and renames until the server is gone. */
async function write(server: SteadyServer, owner: Owner, random: Random): Promise<void> {
  const client = await connect(server, owner);
  const name = (): string => NAMES[random.integer(0, NAMES.length - 1)]!;
  const one = async (): Promise<void> => {
    while (client.isOpen) {
      const what = random.integer(0, 9);
      if (what === 0) await codeOf(client.remove(name()));
      else if (what === 1) await codeOf(client.rename(name(), name()));
      else {
        const version = ++lastVersion;
        await codeOf(putBytes(client, name(), contentsOf(owner, version), 1_000_000 * version));
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, one));
}

test("a server that is killed while clients write has whole files, which belong to those who put them", async () => {
  using folder = tempFolder();
  const served = folder.join("served");
  mkdirSync(served);
  writeFileSync(folder.join("tokens"), Object.values(OWNERS).join("\n"));
  chmodSync(folder.join("tokens"), 0o600);
  await using server = await SteadyServer.writable(served, ["--token-file", folder.join("tokens")]);
  const random = seededRandom(4);
  let checked = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const writing = Promise.all([write(server, "alice", random), write(server, "bob", random)]);
    await Bun.sleep(random.integer(20, 250));
    await server.stop("SIGKILL");
    await writing;
    await server.start();
    const clients = { alice: await connect(server, "alice"), bob: await connect(server, "bob") };
    for (const name of visibleNames(served)) {
      const owner = ownerOf(join(served, name));
      const other = owner === "alice" ? "bob" : "alice";
      const version = ++lastVersion;
      expect({ name, code: await codeOf(clients[other].remove(name)) }).toEqual({ name, code: "refused" });
      expect(await codeOf(clients[other].rename(name, "mine"))).toBe("refused");
      expect(await codeOf(putBytes(clients[other], name, contentsOf(other, version), 1))).toBe("refused");
      const again = putBytes(clients[owner], name, contentsOf(owner, version), 1_000_000 * version);
      expect({ name, code: await codeOf(again) }).toEqual({ name, code: "none" });
      checked++;
    }
    for (const client of Object.values(clients)) client.close();
  }
  expect(checked).toBeGreaterThan(ROUNDS);
});

function visibleNames(served: string): string[] {
  return readdirSync(served, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(served.length + 1))
    .filter((name) => !name.startsWith(".dray/"));
}
