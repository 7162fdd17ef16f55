import { expect, test } from "bun:test";
import * as fs from "node:fs";
import { JobPace, REQUEST_COST_BYTES } from "../../src/mirror/job-pace.ts";
import type { Job } from "../../src/mirror/job.ts";
import { Lane } from "../../src/mirror/lane.ts";
import { Client } from "../../src/transfer/client.ts";
import { ScriptedSource } from "../support/scripted-source.ts";
import { tempFolder } from "../support/temp.ts";
import { Condition } from "../support/wait.ts";

const SETTINGS = {
  agent: "test/1",
  digest: "xxh3",
  isStrict: false,
  verifyWritten: false,
  distrusted: undefined,
} as const;

function jobFor(source: ScriptedSource, files: Record<string, Uint8Array>): Job {
  return {
    jobId: 1,
    lane: 0,
    host: "127.0.0.1",
    port: source.port,
    delayMs: 0,
    sourceDirectory: "src_1",
    items: Object.entries(files).map(([path, { length }]) => ({
      kind: "file",
      path,
      sizeBytes: length,
      mtimeUs: 0,
      mode: 0o644,
      target: "",
    })),
    mode: { checksum: false, verify: false, dryRun: false, prunes: false },
    isNew: false,
    isMetered: true,
  };
}

test("a metered job requests what it was granted, and finds its way back when it was hung up on meanwhile", async () => {
  using folder = tempFolder();
  const files = { large: Buffer.alloc(10_000, "large"), small: Buffer.from("small") };
  using source = new ScriptedSource({ files });
  const lane = new Lane({ ...SETTINGS, mirrorDirectory: folder.path });
  const asked: number[] = [];
  const condition = new Condition();
  const pace = new JobPace(true, (bytes) => {
    asked.push(bytes);
    condition.changed();
  });
  const asks = (count: number): Promise<true> =>
    condition.until(
      () => (asked.length === count ? true : undefined),
      () => `${count} asks`,
    );

  const running = lane.run(jobFor(source, files), pace);
  await asks(1);
  expect(asked).toEqual([10_000 + 5 + 2 * REQUEST_COST_BYTES]);
  expect(source.fetches).toEqual([]);
  pace.granted(4_000 + REQUEST_COST_BYTES);
  await asks(2);
  expect(source.fetches).toMatchObject([{ path: "large", offset: 0, length: 4_000 }]);

  source.connections[0]!.end();
  await source.until(() => (source.connections[0]!.isClosed ? true : undefined), "the end of a connection");
  // By the time that another connection has shaken hands, the lane knows that its own is gone.
  (await Client.connect({ host: "127.0.0.1", port: source.port }, { agent: "x", timeoutMs: 5_000 })).close();
  pace.granted(20_000);
  const { outcomes, connection, receivedBytes } = await running;
  expect(outcomes.map(({ kind }) => kind)).toEqual(["fetched", "fetched"]);
  expect(connection).toEqual({ state: "kept" });
  expect(receivedBytes).toBe(10_005);
  expect(source.fetches.slice(1)).toMatchObject([
    { path: "large", offset: 4_000, length: 6_000 },
    { path: "small", offset: 0, length: 5 },
  ]);
  for (const [path, contents] of Object.entries(files)) {
    expect(fs.readFileSync(folder.join("src_1", path)).equals(contents)).toBe(true);
  }
  lane.stop();
});
