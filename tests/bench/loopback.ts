import { mkdirSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { startProgram } from "../support/process.ts";
import { type ContenderKind, run } from "./contender.ts";

export const LOOPBACK_PEER = fileURLToPath(new URL("./loopback-peer.ts", import.meta.url));

/**
 * The machine's other limit: the one file of the source through one TCP connection into a file, without
 * a protocol and without any check.
 */
export const loopback: ContenderKind = {
  program: process.execPath,
  async open({ source, folder }) {
    const [name = ""] = readdirSync(source);
    const server = startProgram([process.execPath, LOOPBACK_PEER, "serve", `${source}/${name}`]);
    const [, port = ""] = await server.stdoutMatch(/^(\d+)\n/);
    const destination = `${folder}/copy`;
    return {
      name: "bare TCP copy",
      version: undefined,
      commands: [
        "bun tests/bench/loopback-peer.ts serve SOURCE/FILE &",
        "bun tests/bench/loopback-peer.ts receive PORT COPY/FILE",
      ],
      destination,
      daemons: [],
      copy: async () => {
        mkdirSync(destination, { recursive: true });
        return await run([process.execPath, LOOPBACK_PEER, "receive", port, `${destination}/${name}`]);
      },
    };
  },
};
