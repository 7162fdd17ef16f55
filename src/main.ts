import { runShell, type ShellCommand } from "./commands/shell.ts";
import { EXIT } from "./errors/codes.ts";
import { SUMMARIES } from "./options/summaries.ts";

const commands: Record<keyof typeof SUMMARIES, ShellCommand> = {
  content: {
    summary: SUMMARIES.content,
    load: async () => (await import("./commands/content.ts")).contentCommand,
  },
  mirror: {
    summary: SUMMARIES.mirror,
    load: async () => (await import("./commands/mirror.ts")).mirrorCommand,
  },
  initiate: {
    summary: SUMMARIES.initiate,
    load: async () => (await import("./commands/initiate.ts")).initiateCommand,
  },
  fileserve: {
    summary: SUMMARIES.fileserve,
    load: async () => (await import("./commands/fileserve.ts")).fileserveCommand,
  },
  fetch: {
    summary: SUMMARIES.fetch,
    load: async () => (await import("./commands/fetch.ts")).fetchCommand,
  },
  put: {
    summary: SUMMARIES.put,
    load: async () => (await import("./commands/put.ts")).putCommand,
  },
  rm: {
    summary: SUMMARIES.rm,
    load: async () => (await import("./commands/rm.ts")).rmCommand,
  },
  mv: {
    summary: SUMMARIES.mv,
    load: async () => (await import("./commands/mv.ts")).mvCommand,
  },
  ls: {
    summary: SUMMARIES.ls,
    load: async () => (await import("./commands/ls.ts")).lsCommand,
  },
  "sync-server": {
    summary: SUMMARIES["sync-server"],
    load: async () => (await import("./commands/sync-server.ts")).syncServerCommand,
  },
  "sync-client": {
    summary: SUMMARIES["sync-client"],
    load: async () => (await import("./commands/sync-client.ts")).syncClientCommand,
  },
};

// Should everything come to rest without a result, that is a fault and no success.
process.exitCode = EXIT.internal;
process.exit(await runShell(commands, process.argv.slice(2)));
