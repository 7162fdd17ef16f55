import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { startFileserve } from "../support/content-server.ts";
import { runDray } from "../support/process.ts";
import { smallFileSystem, tempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(60_000);

const MIB = 1024 * 1024;

const canMount = ((): boolean => {
  const disk = smallFileSystem(MIB);
  disk?.[Symbol.dispose]();
  return disk !== undefined;
})();

describe.skipIf(!canMount)("a full disk of the server (skipped where mounting is not permitted)", () => {
  test("is said plainly, harms nothing that is there, and the upload goes on once there is room", async () => {
    using disk = smallFileSystem(8 * MIB)!;
    using folder = tempFolder();
    await using server = await startFileserve(disk.path, ["--writable"]);
    const to = ["--to", `127.0.0.1:${server.port}`];
    writeFileSync(folder.join("small"), "small");
    makeLargeFile(folder.join("large"), { seed: 1, sizeBytes: 12 * MIB });
    expect((await runDray(["put", folder.join("small"), ...to])).code).toBe(0);

    const full = await runDray(["put", folder.join("large"), ...to]);
    expect(full.code).toBe(1);
    expect(full.stdout).toContain("no space left");
    const small = await runDray(["ls", "--on", to[1]!]);
    expect(small.stdout).toBe("small\n");
    // Making room is always possible: for that, nothing has to be written first.
    expect((await runDray(["rm", "small", "--on", to[1]!])).code).toBe(0);

    spawnSync("mount", ["-o", `remount,size=${40 * MIB}`, disk.path]);
    const again = await runDray(["put", folder.join("large"), ...to, "--json"]);
    expect(again.code).toBe(0);
    expect(again.events.at(-1)!["bytesResumed"]).toBeGreaterThan(4 * MIB);
    expect(spawnSync("cmp", [folder.join("large"), disk.join("large")]).status).toBe(0);
    expect((await server.program.stop()).code).toBe(0);
    expect(server.program.stderrText()).not.toContain("a fault in dray");
  });
});
