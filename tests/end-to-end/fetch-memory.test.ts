import { expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { type RunningServer, startContent } from "../support/content-server.ts";
import { startDray } from "../support/process.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(180_000);

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** What a fetch of 32 times the bytes may need more. */
const TOLERANCE_BYTES = 96 * MIB;

test("a fetch from several servers needs no more memory for 2 GiB than for 64 MiB", async () => {
  using folder = ramFolder(3 * GIB);
  makeLargeFile(folder.join("a/large"), { seed: 1, sizeBytes: 2 * GIB, sparse: true });
  makeLargeFile(folder.join("a/small"), { seed: 1, sizeBytes: 64 * MIB });
  for (const other of ["b", "c"]) {
    fs.mkdirSync(folder.join(other));
    for (const name of ["large", "small"]) fs.linkSync(folder.join("a", name), folder.join(other, name));
  }
  const servers: RunningServer[] = [];
  try {
    for (const name of ["a", "b", "c"]) servers.push(await startContent(folder.join(name)));
    const list = servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
    const peakOf = async (name: string): Promise<number> => {
      await using program = startDray(["fetch", "--from", list, name, folder.join("saved"), "--json"]);
      expect((await program.finished({ timeoutMs: 120_000 })).code).toBe(0);
      const peakBytes = program.peakRssBytes;
      fs.rmSync(folder.join("saved"), { recursive: true });
      return peakBytes;
    };
    const small = await peakOf("small");
    const large = await peakOf("large");
    if (process.env["DRAY_TEST_FIGURES"] !== undefined) console.log({ small, large });
    expect(large - small).toBeLessThan(TOLERANCE_BYTES);
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
});
