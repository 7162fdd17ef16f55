import { writeFileSync } from "node:fs";
import { freePort } from "../support/free-port.ts";
import { startProgram } from "../support/process.ts";
import { type ContenderKind, run, versionLine } from "./contender.ts";
import { portOpen } from "./port-open.ts";

/** rsync from a daemon with a configuration of its own. Whole files: comparing blocks is no use here. */
export function rsync(...flags: string[]): ContenderKind {
  return {
    program: "rsync",
    async open({ source, folder }) {
      const port = await freePort();
      const configuration = `${folder}/rsyncd.conf`;
      writeFileSync(configuration, daemonConfiguration(source, folder));
      startProgram([
        ...["rsync", "--daemon", "--no-detach", `--config=${configuration}`],
        ...["--address=127.0.0.1", `--port=${port}`],
      ]);
      await portOpen(port);
      const destination = `${folder}/copy`;
      const pull = ["rsync", "--archive", "--whole-file", ...flags];
      return {
        name: ["rsync", ...flags].join(" "),
        version: versionLine("rsync", "--version"),
        commands: [
          "rsync --daemon --no-detach --config=rsyncd.conf --address=127.0.0.1 --port=PORT &",
          [...pull, "rsync://127.0.0.1:PORT/source/ COPY/"].join(" "),
        ],
        destination,
        daemons: [],
        copy: () => run([...pull, `rsync://127.0.0.1:${port}/source/`, `${destination}/`]),
      };
    },
  };
}

function daemonConfiguration(source: string, folder: string): string {
  const lines = [`log file = ${folder}/rsyncd.log`, "use chroot = no", "[source]", `path = ${source}`];
  // Started by root, the daemon would otherwise read as nobody, who may not enter temp folders.
  if (process.getuid?.() === 0) lines.push("uid = 0", "gid = 0");
  return `${lines.join("\n")}\n`;
}
