import { writeFileSync } from "node:fs";
import { freePort } from "../support/free-port.ts";
import { startProgram } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";
import { WORKERS } from "./dray.ts";
import { portOpen } from "./port-open.ts";

/** rclone from its own HTTP server. It neither verifies nor syncs what it copies from there. */
export const rclone: ContenderKind = {
  program: "rclone",
  async open({ source, folder }) {
    const port = await freePort();
    const configuration = `${folder}/rclone.conf`;
    writeFileSync(configuration, "");
    const common = ["--config", configuration];
    startProgram(["rclone", "serve", "http", source, "--addr", `127.0.0.1:${port}`, ...common]);
    await portOpen(port);
    const destination = `${folder}/copy`;
    const copy = ["rclone", "copy", "--transfers", String(WORKERS), ":http:", destination];
    return {
      name: "rclone",
      version: versionLine("rclone", "version"),
      commands: [
        "rclone serve http SOURCE --addr 127.0.0.1:PORT &",
        `rclone copy --transfers ${WORKERS} :http: COPY --http-url http://127.0.0.1:PORT`,
      ],
      destination,
      daemons: [],
      copy: () => run([...copy, "--http-url", `http://127.0.0.1:${port}`, ...common]),
    };
  },
};
