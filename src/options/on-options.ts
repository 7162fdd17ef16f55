import { CLIENT_OPTIONS } from "./client-options.ts";
import { duration } from "./option-type.ts";
import { targetList } from "./target-list.ts";

/** What the commands have that ask something of several servers, to be spread into their tables. */
export const ON_OPTIONS = {
  on: {
    type: targetList(),
    placeholder: "LIST",
    description: "the servers, HOST:PORT, comma separated; can be given several times",
  },
  timeoutMs: {
    name: "timeout",
    type: duration(0, 3_600_000),
    placeholder: "TIME",
    description: "how long to try to reach a server",
    default: 10_000,
  },
  ...CLIENT_OPTIONS,
} as const;
