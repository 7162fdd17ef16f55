import { existsSync } from "node:fs";
import { resolve } from "node:path";

/**
 * The compiled executable under test: `dist/dray`, or what DRAY_BINARY names.
 * Throws when it is not there, and says how to make it.
 */
export function drayBinary(): string {
  const path = resolve(process.env.DRAY_BINARY ?? resolve(import.meta.dir, "../../dist/dray"));
  if (!existsSync(path)) {
    throw new Error(`There is no executable at ${path}. Run "npm run build" first, or set DRAY_BINARY.`);
  }
  return path;
}
