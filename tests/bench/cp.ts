import { type ContenderKind, run, versionLine } from "./contender.ts";

/** The machine's own limit: a copy that no network is in the way of. */
export const cp: ContenderKind = {
  program: "cp",
  open: async ({ source, folder }) => ({
    name: "cp -r",
    version: versionLine("cp", "--version"),
    commands: ["cp -r SOURCE COPY"],
    destination: `${folder}/copy`,
    daemons: [],
    copy: () => run(["cp", "-r", source, `${folder}/copy`]),
  }),
};
