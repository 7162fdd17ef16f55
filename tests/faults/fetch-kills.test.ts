import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { runDray, startDray } from "../support/process.ts";
import { seededRandom } from "../support/random.ts";
import { ramFolder } from "../support/ram-folder.ts";
import { StagedReplicas } from "../support/replicas.ts";
import type { TempFolder } from "../support/temp.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(600_000);

const KILLS = Number(process.env["DRAY_TEST_KILLS"] ?? 10);
const REPLICAS = 4;
const PIECE_BYTES = 256 * 1024;
/** More than all runs that are killed can bring: none of them may come to the end. */
const SIZE_BYTES = (KILLS + 6) * 8 * PIECE_BYTES + 12_345;
/** So slow that next to nothing waits inside the system when a fetch is killed. */
const BYTES_PER_SECOND = 2_000_000;
/** What else crosses: handshakes, digests, heads of frames; of one run of a fetch. */
const PROTOCOL_BYTES = 64 * 1024;

let folder: TempFolder;
let original: string;

beforeAll(() => {
  folder = ramFolder(SIZE_BYTES * 8);
  original = folder.join("original");
  makeLargeFile(original, { seed: 1, sizeBytes: SIZE_BYTES });
});
afterAll(() => {
  folder[Symbol.dispose]();
});

test(`killed ${KILLS} times at random moments, a fetch from ${REPLICAS} servers brings the file, and next to nothing twice`, async () => {
  const random = seededRandom(5);
  const slow = [{ kind: "throttle" as const, bytesPerSecond: BYTES_PER_SECOND }];
  await using replicas = await StagedReplicas.start(
    folder.join("replicas"),
    original,
    "big",
    Array.from({ length: REPLICAS }, () => slow),
  );
  const args = ["fetch", "--from", replicas.list, "big", folder.join("saved"), "--json"];
  let kills = 0;
  for (; kills < KILLS; kills++) {
    await using program = startDray(args);
    const moment = Bun.sleep(random.integer(20, 500)); // a moment, not a wait for something
    await Promise.race([moment, program.exit]);
    await program.stop("SIGKILL");
    // Whatever is there was never visible as the file.
    if (fs.existsSync(folder.join("saved/big"))) break;
  }
  const { code, stderr, events } = await runDray(args, { timeoutMs: 300_000 });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(spawnSync("cmp", [original, folder.join("saved/big")]).status).toBe(0);
  expect(fs.readdirSync(folder.join("saved"))).toEqual(["big"]);
  expect(kills).toBe(KILLS);
  const { bytesWasted } = events.at(-1) as unknown as { bytesWasted: number };
  const lostBytes = KILLS * REPLICAS * PIECE_BYTES;
  const allowedBytes = SIZE_BYTES + lostBytes + bytesWasted + (KILLS + 1) * PROTOCOL_BYTES;
  if (process.env["DRAY_TEST_FIGURES"] !== undefined)
    console.log({
      SIZE_BYTES,
      sentBytes: replicas.sentBytes,
      lost: replicas.sentBytes - SIZE_BYTES,
      allowedBytes,
      bytesWasted,
    });
  expect(replicas.sentBytes).toBeLessThan(allowedBytes);
});
