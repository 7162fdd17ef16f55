import { type Socket } from "node:net";
import { type Fault } from "./proxy-faults.ts";

const KEPT_BYTES = 64 * 1024;
const THROTTLE_SLICES_PER_SECOND = 20;

/** Carries one direction to its end. An orderly end is passed on as one; whatever else breaks one side breaks the other. */
export async function pump(
  from: Socket,
  to: Socket,
  pass: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  try {
    for await (const chunk of from.iterator({ destroyOnReturn: false })) await pass(chunk as Uint8Array);
    to.end();
  } catch {
    if (!to.writableEnded) to.resetAndDestroy();
  }
}

/** Settles once the system has taken the bytes, which keeps memory bounded. */
export async function send(to: Socket, bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    to.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

export function* slices(bytes: Uint8Array, faults: readonly Fault[]): Generator<Uint8Array> {
  const sizes = faults.map((fault) => {
    if (fault.kind === "dribble") return 1;
    if (fault.kind === "throttle") return Math.ceil(fault.bytesPerSecond / THROTTLE_SLICES_PER_SECOND);
    return Infinity;
  });
  const size = Math.min(bytes.length, ...sizes);
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

/** Lets what was sent go out on its own (dribble), and takes the time that it should take (throttle). */
export async function pace(slice: Uint8Array, faults: readonly Fault[]): Promise<void> {
  for (const fault of faults) {
    if (fault.kind === "dribble") await new Promise((resolve) => setImmediate(resolve));
    if (fault.kind === "throttle") await Bun.sleep((slice.length / fault.bytesPerSecond) * 1000);
  }
}

export function keepHead(head: Uint8Array, chunk: Uint8Array): Uint8Array {
  if (head.length >= KEPT_BYTES) return head;
  return Buffer.concat([head, chunk.subarray(0, KEPT_BYTES - head.length)]);
}
