import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { OrderResult } from "../../src/wire/order.ts";
import { namesBelow } from "../support/files-below.ts";
import { IndependentClient, ServerError } from "../support/independent-client.ts";
import { startProxy } from "../support/proxy.ts";
import { sourceText, Stage } from "../support/stage.ts";

setDefaultTimeout(120_000);

/** More than the buffers of a connection hold, so that the server is in the middle of it when the proxy stalls. */
const BEFORE = Buffer.alloc(40_000_000, "before ");
const STALL_AT = 10_000_000;

interface Arrived {
  code: number | null;
  failures: { path: string; code: string }[];
  /** What is there under the file's name. */
  file: Buffer | undefined;
}

/** Does something to a file when a part of it is through; whatever is sent after that goes through at once. */
async function changeWhileSending(change: (path: string) => void): Promise<Arrived> {
  await using stage = await Stage.open();
  const content = await stage.content("data", (directory) => {
    writeFileSync(join(directory, "file"), BEFORE);
    writeFileSync(join(directory, "other"), "other");
  });
  let hasChanged = false;
  await using proxy = await startProxy({
    target: { host: "127.0.0.1", port: content.port },
    faults: () => (hasChanged ? [] : [{ kind: "stall", atByte: STALL_AT }]),
  });
  // With one worker there is one connection that fetches, until that is lost.
  const order = stage.startOrder([sourceText(proxy)]);
  await proxy.reached("stall");
  change(join(content.directory, "file"));
  hasChanged = true;
  proxy.release();
  const { code, events } = await order.finished({ timeoutMs: 60_000 });
  const names = namesBelow(stage.treeOf(proxy));
  expect(names.filter((name) => name !== "file")).toEqual(["other"]);
  const { failures } = events.at(-1) as unknown as OrderResult;
  const file = names.includes("file") ? readFileSync(join(stage.treeOf(proxy), "file")) : undefined;
  return { code, failures, file };
}

describe("a file that changes while it is being sent arrives as it is afterwards", () => {
  const changes: Record<string, (path: string) => void> = {
    "overwritten in place": (path) => writeFileSync(path, Buffer.alloc(BEFORE.length, "after  ")),
    longer: (path) => appendFileSync(path, "and more"),
    shorter: (path) => truncateSync(path, 1_000_000),
    empty: (path) => truncateSync(path, 0),
    "replaced by another": (path) => {
      writeFileSync(`${path}.new`, "a new file");
      renameSync(`${path}.new`, path);
    },
  };
  test.each(Object.entries(changes))("%s", async (_, change) => {
    let after: Buffer | undefined;
    const { code, failures, file } = await changeWhileSending((path) => {
      change(path);
      after = readFileSync(path);
    });
    expect({ code, failures }).toEqual({ code: 0, failures: [] });
    expect(file!.equals(after!)).toBe(true);
  });

  test("deleted: a failure, and nothing of it is there", async () => {
    const { code, failures, file } = await changeWhileSending((path) => rmSync(path));
    expect(code).toBe(3);
    expect(failures).toMatchObject([{ path: "file", code: "not-found" }]);
    expect(file).toBeUndefined();
  });

  test("a link to elsewhere: a failure, and it is not followed", async () => {
    const { code, failures, file } = await changeWhileSending((path) => {
      rmSync(path);
      symlinkSync("/etc/passwd", path);
    });
    expect(code).toBe(3);
    expect(failures).toMatchObject([{ path: "file", code: "refused" }]);
    expect(file).toBeUndefined();
  });
});

describe("what is put in the place of something that was listed", () => {
  async function afterListing(
    swap: (directory: string, outside: string) => void,
    check: (answer: Buffer | ServerError) => void,
  ): Promise<void> {
    await using stage = await Stage.open();
    const outside = stage.folder.join("outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "secret");
    const content = await stage.content("data", (directory) => {
      mkdirSync(join(directory, "in"));
      writeFileSync(join(directory, "in/file"), "public");
    });
    await using client = await IndependentClient.connect(content.port);
    expect((await client.list(".")).map(({ path }) => path)).toEqual(["in", "in/file"]);
    const first = client.requestFile("in/file");
    expect((await client.receiveFile(first)).bytes.toString()).toBe("public");

    swap(content.directory, outside);
    const id = client.requestFile("in/file");
    const answer = await client.receiveFile(id).then(
      ({ bytes }) => bytes,
      (error: unknown) => error as ServerError,
    );
    check(answer);
    // Whatever it was, it was not the end of the connection.
    writeFileSync(join(content.directory, "next"), "next");
    expect((await client.receiveFile(client.requestFile("next"))).bytes.toString()).toBe("next");
  }

  const isRefused = (answer: Buffer | ServerError): void => {
    expect(answer).toBeInstanceOf(ServerError);
    expect((answer as ServerError).code).toBe(9);
  };

  test("a link to a file outside is not followed", async () => {
    await afterListing((directory, outside) => {
      rmSync(join(directory, "in/file"));
      symlinkSync(join(outside, "file"), join(directory, "in/file"));
    }, isRefused);
  });

  test("a directory is refused", async () => {
    await afterListing((directory) => {
      rmSync(join(directory, "in/file"));
      mkdirSync(join(directory, "in/file"));
    }, isRefused);
  });

  test("a fifo does not hang the server", async () => {
    await afterListing((directory) => {
      rmSync(join(directory, "in/file"));
      expect(spawnSync("mkfifo", [join(directory, "in/file")]).status).toBe(0);
    }, isRefused);
  });

  test("a link to a directory outside, in the place of the parent, never gives what is behind it", async () => {
    await afterListing(
      (directory, outside) => {
        renameSync(join(directory, "in"), join(directory, "was-in"));
        symlinkSync(outside, join(directory, "in"));
      },
      (answer) => {
        // For a moment the directory may still be known under its old name.
        if (answer instanceof Buffer) expect(answer.toString()).toBe("public");
        else expect(answer).toBeInstanceOf(ServerError);
      },
    );
  });
});
