/** One line a command, for `dray --help`: kept apart from the tables so that it loads without them. */
export const SUMMARIES = {
  content: "export a directory, for mirrors to pull from",
  mirror: "run the daemon that pulls files from many servers, on order",
  initiate: "give a mirror an order, follow it and print the statistics",
} as const;
