import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { newFolder } from "./settle.ts";

const GIB = 1024 ** 3;

/** What is copied. Pseudo-random contents, no holes: nothing compresses, nothing is left out. */
export type DataName = "large" | "small";

export interface BenchData {
  path: string;
  files: number;
  bytes: number;
}

export function makeData(name: DataName, folder: string): BenchData {
  const path = newFolder(folder, name);
  if (name === "large") {
    const sizeBytes = 2 * GIB;
    makeLargeFile(`${path}/file.bin`, { seed: 1, sizeBytes });
    return { path, files: 1, bytes: sizeBytes };
  }
  const many = { seed: 2, count: 10_000, directories: 100, minBytes: 512, maxBytes: 21_500 };
  return { path, files: many.count, bytes: makeManyFiles(path, many) };
}
