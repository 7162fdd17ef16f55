import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import { Authority } from "../support/certificates.ts";
import { startContent } from "../support/content-server.ts";
import { runDray } from "../support/process.ts";
import type { Finished } from "../support/program.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";
import { sourceText, Stage } from "../support/stage.ts";
import { makeLargeFile } from "../support/tree.ts";

setDefaultTimeout(60_000);

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
  makeLargeFile(folder.join("served/docs/file"), { seed: 1, sizeBytes: 3_000_000 });
});
afterEach(() => folder[Symbol.dispose]());

function fetch(port: number, file: string, ...flags: string[]): Promise<Finished> {
  return runDray(["fetch", "127.0.0.1", String(port), file, folder.join("saved"), ...flags]);
}

function expectWhole(): void {
  expect(fs.readFileSync(folder.join("saved/file"))).toEqual(
    fs.readFileSync(folder.join("served/docs/file")),
  );
}

test("without the right token: exit 6, and not one byte; with it, the file", async () => {
  const [tokens, right, wrong] = ["tokens", "right", "wrong"].map((name) => folder.join(name)) as [
    string,
    string,
    string,
  ];
  fs.writeFileSync(tokens, "alice:a-secret-of-twenty-bytes\n", { mode: 0o600 });
  fs.writeFileSync(right, "alice:a-secret-of-twenty-bytes\n", { mode: 0o600 });
  fs.writeFileSync(wrong, "alice:another-of-twenty-bytes\n", { mode: 0o600 });
  await using server = await startContent(folder.join("served"), ["--token-file", tokens]);
  for (const flags of [[], ["--token-file", wrong]]) {
    const { code, stderr } = await fetch(server.port, "docs/file", ...flags);
    expect(code).toBe(6);
    expect(stderr).not.toContain("secret");
    expect(fs.existsSync(folder.join("saved"))).toBe(false);
  }
  expect((await fetch(server.port, "docs/file", "--token-file", right)).code).toBe(0);
  expectWhole();
});

describe.skipIf(Bun.which("openssl") === null)("over TLS", () => {
  test("a file and a directory arrive, and a server that nobody vouches for is refused", async () => {
    using authority = new Authority();
    const { certPath, keyPath } = authority.issue("server");
    const flags = ["--tls-cert", certPath, "--tls-key", keyPath];
    await using server = await startContent(folder.join("served"), flags);
    const tls = ["--tls", "--tls-ca", authority.caPath];
    expect((await fetch(server.port, "docs/file", ...tls)).code).toBe(0);
    expectWhole();
    expect((await fetch(server.port, "docs", "-r", ...tls)).code).toBe(0);
    expect(fs.readdirSync(folder.join("saved/docs"))).toEqual(["file"]);
    const unknown = await fetch(server.port, "docs/file", "--tls", "--overwrite", "--timeout", "1");
    expect(unknown.code).not.toBe(0);
    expect((await fetch(server.port, "docs/file", "--timeout", "1")).code).not.toBe(0);
  });
});

test("a mirror's export is a server like any other", async () => {
  await using stage = await Stage.open({ flags: ["--export", "0"] });
  const content = await stage.serve(folder.join("served"));
  expect((await stage.order([sourceText(content)])).code).toBe(0);
  const { port } = (await stage.mirror.event("exporting")) as unknown as { port: number };
  expect((await fetch(port, `127.0.0.1_${content.port}/docs/file`)).code).toBe(0);
  expectWhole();
  expect((await fetch(port, ".dray/journal.db")).code).toBe(4);
});
