import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { fileSha256 } from "../support/file-sha256.ts";
import { PartServers } from "../support/part-servers.ts";
import { runDray, startDray } from "../support/process.ts";
import { seededRandom } from "../support/random.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

/** More of them find more: DRAY_TEST_KILLS=100. */
const KILLS = Number(process.env["DRAY_TEST_KILLS"] ?? 8);
setDefaultTimeout(60_000 + KILLS * 5_000);

const MIB = 1024 * 1024;
const COPIES = 2;

let folder: TempFolder;
let servers: PartServers;
beforeEach(async () => {
  folder = tempFolder();
  servers = await PartServers.start(folder.join("servers"), { processes: 2, instances: 3 });
});
afterEach(async () => {
  await servers[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

test("a put that is killed at any moment leaves the old or the new version to be fetched, whole, from any server", async () => {
  const random = seededRandom(7);
  const path = folder.join("local/a");
  const sums = new Set<string>();
  const options = [
    "put",
    path,
    "--to",
    servers.list,
    "--copies",
    String(COPIES),
    "--part-size",
    "1M",
    "--json",
  ];
  for (let kill = 0; kill <= KILLS; kill++) {
    const parts = random.integer(3, 8);
    makeLargeFile(path, { seed: kill, sizeBytes: parts * MIB - random.integer(0, 1000) });
    const sum = await fileSha256(path);
    sums.add(sum);
    const put = startDray(options);
    if (kill > 0) {
      // In the middle of the parts, or somewhere behind the last of them: manifests, and what is removed then.
      const copies = random.next() < 0.4 ? random.integer(1, parts * COPIES) : parts * COPIES;
      const seen = (): number => put.events.filter(({ type }) => type === "copy").length;
      await put.waitFor(() => seen() >= copies, { what: `${copies} copies` });
      if (copies === parts * COPIES) await Bun.sleep(random.next() * 40);
      await put.stop("SIGKILL");
    } else expect((await put.finished()).code).toBe(0);

    const directory = folder.join(`save-${kill}`);
    mkdirSync(directory);
    const port = servers.ports[random.integer(0, servers.ports.length - 1)]!;
    const fetched = await runDray(["fetch", "127.0.0.1", String(port), "a", directory]);
    expect({ code: fetched.code, stderr: fetched.stderr }).toMatchObject({ code: 0 });
    const got = await fileSha256(`${directory}/a`);
    expect(sums).toContain(got);
    // What was there before the last one that can be seen is gone for good.
    if (got === sum) {
      sums.clear();
      sums.add(sum);
    }
    rmSync(directory, { recursive: true });
  }
  // And in the end nothing is left but what the last one says.
  expect((await runDray(options)).code).toBe(0);
  expect((await runDray(["put", "--repair", "a", "--to", servers.list])).code).toBe(0);
  const manifest = servers.manifestOn(servers.ports[0]!, "a")!;
  expect(manifest.root).toBe(await fileSha256(path));
  const files = servers.ports.flatMap((port) => servers.filesOn(port));
  expect(files).toHaveLength(servers.ports.length + manifest.parts.length * COPIES);
});
