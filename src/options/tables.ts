import { contentTable } from "./content-options.ts";
import { initiateTable } from "./initiate-options.ts";
import { mirrorTable } from "./mirror-options.ts";
import type { FullTable } from "./table.ts";

/** The tables of all commands, in the order in which the reference lists them. */
export const TABLES: readonly FullTable[] = [contentTable, mirrorTable, initiateTable];
