/** Writes docs/OPTIONS.md from the option tables: `npm run docs`. */
import { join } from "node:path";
import { optionReference } from "../src/options/reference.ts";
import { TABLES } from "../src/options/tables.ts";

await Bun.write(join(import.meta.dir, "OPTIONS.md"), optionReference(TABLES));
