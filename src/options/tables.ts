import { contentTable } from "./content-options.ts";
import { fetchTable } from "./fetch-options.ts";
import { fileserveTable } from "./fileserve-options.ts";
import { initiateTable } from "./initiate-options.ts";
import { lsTable } from "./ls-options.ts";
import { mirrorTable } from "./mirror-options.ts";
import { mvTable } from "./mv-options.ts";
import { putTable } from "./put-options.ts";
import { rmTable } from "./rm-options.ts";
import { syncClientTable } from "./sync-client-options.ts";
import { syncServerTable } from "./sync-server-options.ts";
import type { FullTable } from "./table.ts";

/** The tables of all commands, in the order in which the reference lists them. */
export const TABLES: readonly FullTable[] = [
  contentTable,
  mirrorTable,
  initiateTable,
  fileserveTable,
  fetchTable,
  putTable,
  rmTable,
  mvTable,
  lsTable,
  syncServerTable,
  syncClientTable,
];
