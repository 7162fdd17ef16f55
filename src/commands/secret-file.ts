import * as fs from "node:fs";
import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { fromStart } from "./working-directory.ts";

/** Far more than any bundle of authorities has. */
const MAX_BYTES = 1024 * 1024;

/** What a file holds, and what somebody should hear about the file. */
export interface SecretFile {
  text: string;
  warnings: string[];
}

/**
 * Reads a small file of text, which may also be a pipe.
 * @param isSecret then others should not be able to read it
 * @throws DrayError that never shows what is in the file
 */
export function readSecretFile(path: string, isSecret: boolean): SecretFile {
  const file = openFile(path);
  try {
    const stats = fs.fstatSync(file);
    if (stats.isDirectory()) throw new DrayError("usage", "it is a directory");
    const hasModes = stats.isFile() && process.platform !== "win32";
    const isOpen = isSecret && hasModes && (stats.mode & 0o007) !== 0;
    const text = readAll(file);
    return { text, warnings: isOpen ? ["everybody on this machine can read it (chmod o= FILE)"] : [] };
  } catch (error) {
    const known = asDrayError(error);
    throw new DrayError("usage", `Cannot use ${path}: ${known.message}`, { cause: known.cause });
  } finally {
    fs.closeSync(file);
  }
}

function openFile(path: string): number {
  try {
    return fs.openSync(fromStart(path), "r");
  } catch (error) {
    throw new DrayError("usage", `Cannot read ${path}: ${asDrayError(error).message}`, { cause: error });
  }
}

function readAll(file: number): string {
  const chunks: Buffer[] = [];
  for (let sizeBytes = 0; ;) {
    const chunk = Buffer.alloc(64 * 1024);
    const readBytes = fs.readSync(file, chunk);
    if (readBytes === 0) return Buffer.concat(chunks).toString("utf8");
    sizeBytes += readBytes;
    if (sizeBytes > MAX_BYTES) throw new DrayError("usage", `it has more than ${MAX_BYTES} bytes`);
    chunks.push(chunk.subarray(0, readBytes));
  }
}
