import * as fs from "node:fs";
import { join } from "node:path";
import { Client } from "../../../src/transfer/client.ts";
import { FRAME_HEADER_BYTES } from "../../../src/wire/frame.ts";
import { putBytes } from "../put-bytes.ts";
import { startDray } from "../process.ts";
import { seededRandom } from "../random.ts";
import type { TempFolder } from "../temp.ts";
import { pretendToHaveBooted } from "./other-boot.ts";
import { type Recording, record } from "./recording.ts";

const TOKEN = "alice:a-secret-of-alice-1234";
const LARGE_BYTES = 600_123;
/** The frame that ends PUT, REMOVE and RENAME (docs/PROTOCOL.md). */
const DONE = 42;

/** What a client has a file server do. */
type Step =
  | { do: "put"; path: string; sizeBytes: number }
  | { do: "remove"; path: string }
  | { do: "rename"; path: string; to: string };

const STEPS: readonly Step[] = [
  { do: "put", path: "small", sizeBytes: 900 },
  { do: "put", path: "a/b/large", sizeBytes: LARGE_BYTES },
  { do: "put", path: "small", sizeBytes: 900 },
  { do: "put", path: "a/b/large", sizeBytes: LARGE_BYTES },
  { do: "rename", path: "small", to: "c/moved" },
  { do: "remove", path: "a/b/large" },
  { do: "put", path: "nothing", sizeBytes: 0 },
  { do: "put", path: "c/small", sizeBytes: 5_000 },
  { do: "remove", path: "c/moved" },
];

/** What is served after each step, by path; the first one is before the first step. */
export const SERVED: readonly ReadonlyMap<string, Uint8Array>[] = served();

function contentOf(step: number, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  seededRandom(step + 1).fill(bytes);
  return bytes;
}

function mtimeOf(step: number): number {
  return 1_000_000 * (step + 1);
}

function served(): Map<string, Uint8Array>[] {
  const states = [new Map<string, Uint8Array>()];
  for (const [index, step] of STEPS.entries()) {
    const next = new Map(states.at(-1));
    if (step.do === "put") next.set(step.path, contentOf(index, step.sizeBytes));
    else {
      if (step.do === "rename") next.set(step.to, next.get(step.path)!);
      next.delete(step.path);
    }
    states.push(next);
  }
  return states;
}

/** The disk of a file server, and who puts files there. */
export class PutStage {
  readonly folder: TempFolder;

  constructor(folder: TempFolder) {
    this.folder = folder;
    fs.writeFileSync(folder.join("token"), TOKEN, { mode: 0o600 });
  }

  /** A server from its first start to an orderly end, with all steps one after the other. */
  async record(): Promise<Recording> {
    const root = this.folder.join("disk");
    fs.mkdirSync(join(root, "served"), { recursive: true });
    return record(
      root,
      this.#args(root),
      async (server) => {
        const client = await connect((await server.listening()).port);
        for (const [index, step] of STEPS.entries()) {
          if (step.do === "remove") await client.remove(step.path);
          else if (step.do === "rename") await client.rename(step.path, step.to);
          else await putBytes(client, step.path, contentOf(index, step.sizeBytes), mtimeOf(index));
        }
        client.close();
        await server.stop();
      },
      (bytes) => (holdsFrame(bytes, DONE) ? "done" : undefined),
    );
  }

  /**
   * Starts the compiled server on what a crash has left, puts the large files once more, which may go on with parts
   * of them, and has the owner remove all that is there.
   * @returns what is wrong
   */
  async recover(root: string, paths: readonly string[], isOtherBoot: boolean): Promise<string[]> {
    const uploads = join(root, "served/.dray/uploads");
    if (isOtherBoot) pretendToHaveBooted(join(uploads, "boot"));
    await using server = startDray(this.#args(root));
    const client = await connect((await server.listening()).port);
    const faults: string[] = [];
    for (const [index, step] of STEPS.entries()) {
      if (step.do !== "put" || step.sizeBytes < LARGE_BYTES) continue;
      const bytes = contentOf(index, step.sizeBytes);
      await putBytes(client, step.path, bytes, mtimeOf(index));
      if (!fs.readFileSync(join(root, "served", step.path)).equals(bytes))
        faults.push(`${step.path} is damaged`);
      await client.remove(step.path);
    }
    for (const path of paths.filter((each) => fs.existsSync(join(root, "served", each)))) {
      await client.remove(path).catch((error: unknown) => faults.push(`${path}: ${String(error)}`));
    }
    client.close();
    const { code } = await server.stop();
    if (code !== 0) faults.push(`the server ends with ${code}`);
    if (/damaged|error/.test(server.stderrText())) faults.push(server.stderrText());
    const left = fs.readdirSync(uploads).filter((name) => name !== "boot");
    return left.length === 0 ? faults : [...faults, `left over: ${left.join(", ")}`];
  }

  #args(root: string): string[] {
    const flags = ["--writable", "--token-file", this.folder.join("token"), "--json"];
    return ["fileserve", "127.0.0.1", "0", join(root, "served"), ...flags];
  }
}

async function connect(port: number): Promise<Client> {
  const security = { token: Buffer.from(TOKEN), tls: undefined };
  return Client.connect({ host: "127.0.0.1", port }, { agent: "test/1", timeoutMs: 20_000, security });
}

function holdsFrame(bytes: Buffer, type: number): boolean {
  for (let at = 0; at + FRAME_HEADER_BYTES <= bytes.length;) {
    if (bytes[at + 8] === type) return true;
    at += FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 4);
  }
  return false;
}
