import * as fs from "node:fs";

/** Makes what was written to an open file or directory durable, off this thread. @throws a system error */
export function syncDescriptor(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(descriptor, (error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
}

/** Makes the names in a directory durable. @throws a system error */
export function syncDirectory(path: string): void {
  const descriptor = fs.openSync(path, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}
