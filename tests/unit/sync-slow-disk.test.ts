import { expect, test } from "bun:test";
import { SyncStage, type StageClient } from "../support/sync-stage.ts";

/** Two clients in sync, the second of which has a disk whose syncs take longer than a file takes to settle. */
function slow(seed: number): { stage: SyncStage; fast: StageClient; slow: StageClient } {
  const stage = new SyncStage(seed);
  stage.startHub();
  const [fast, slow] = [stage.client().start(), stage.client().start()];
  slow.machine.disk.settings.syncMs = [1_500, 1_500];
  fast.write("file", "first");
  stage.settle();
  return { stage, fast, slow };
}

function expectAll(stage: SyncStage, files: Record<string, string>): void {
  stage.settle();
  expect({ server: stage.serverFiles }).toEqual({ server: files });
  for (const client of stage.clients) expect(client.files).toEqual(files);
}

test("a user who saves a file while what was received there is still being synced is heard", () => {
  const { stage, fast, slow: late } = slow(1);
  fast.write("file", "second");
  stage.world.clock.until(() => late.files["file"] === "second", "the second");
  late.write("file", "third");
  expectAll(stage, { file: "third" });
});

test("a user who deletes it then is heard", () => {
  const { stage, fast, slow: late } = slow(2);
  fast.write("file", "second");
  stage.world.clock.until(() => late.files["file"] === "second", "the second");
  late.remove("file");
  expectAll(stage, {});
});

test("a user who saves it anew while its removal is still being synced is heard", () => {
  const { stage, fast, slow: late } = slow(3);
  fast.remove("file");
  stage.world.clock.until(() => late.files["file"] === undefined, "the removal");
  late.write("file", "again");
  expectAll(stage, { file: "again" });
});
