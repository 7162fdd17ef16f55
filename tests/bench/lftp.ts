import { freePort } from "../support/free-port.ts";
import { startProgram } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";
import { WORKERS } from "./dray.ts";
import { nginxConfiguration } from "./fetch.ts";
import { portOpen } from "./port-open.ts";

/** lftp's mirror from nginx, which lists its directories as pages. It neither verifies nor syncs. */
export const lftp: ContenderKind = {
  program: Bun.which("nginx") === null ? "nginx" : "lftp",
  async open({ source, folder }) {
    const port = await freePort();
    startProgram(["nginx", "-p", folder, "-c", nginxConfiguration(folder, source, port)]);
    await portOpen(port);
    const destination = `${folder}/copy`;
    const mirror = `mirror --parallel=${WORKERS} --use-pget-n=4`;
    return {
      name: "lftp",
      version: versionLine("lftp", "--version"),
      commands: [
        "nginx &  # one worker, sendfile and autoindex on",
        `lftp -c "${mirror} http://127.0.0.1:PORT/ COPY"`,
      ],
      destination,
      daemons: [],
      copy: () => run(["lftp", "--norc", "-c", `${mirror} http://127.0.0.1:${port}/ ${destination}`]),
    };
  },
};
