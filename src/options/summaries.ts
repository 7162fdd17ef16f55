/** One line a command, for `dray --help`: kept apart from the tables so that it loads without them. */
export const SUMMARIES = {
  content: "export a directory, for mirrors to pull from",
  mirror: "run the daemon that pulls files from many servers, on order",
  initiate: "give a mirror an order, follow it and print the statistics",
  fileserve: "serve a directory from a memory cache",
  fetch: "get a file or a directory from a server, going on with what is there; or list its cache",
  put: "put files on file servers, going on with interrupted uploads",
  rm: "remove files from file servers",
  mv: "rename a file on file servers",
  ls: "list what servers have",
  "sync-server": "keep a directory in sync with any number of clients",
  "sync-client": "keep a folder in sync with a sync server",
} as const;
