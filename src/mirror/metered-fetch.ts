import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import type { Client, FetchRequest } from "../transfer/client.ts";
import { type JobPace, REQUEST_COST_BYTES } from "./job-pace.ts";
import type { MirroredFile } from "./mirrored-file.ts";

/** Parts of one file that are asked for before the first of them is there: hides the way to the source and back. */
const MAX_REQUESTS_UNDER_WAY = 4;

/** Lets one after the other do something, in the order in which they came. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** @returns when it is the caller's turn, what ends the turn */
  async take(): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    return resolve;
  }
}

/**
 * Brings a file under a bandwidth limit: asks the source for no more at a time than the limit allows,
 * part by part, so that nothing waits in buffers on the way and no connection is held up. What came
 * before is gone on with. Settles when all that was asked for is there: the whole file, unless the limit
 * was lifted meanwhile or the file is larger than it was listed.
 *
 * @param listedBytes how large the file was when it was listed
 * @param turns files of one lane make their requests one after the other
 * @param connect the connection to the source, a new one if it was lost while nothing was asked
 * @throws DrayError
 */
export async function fetchMetered(
  file: MirroredFile,
  request: Omit<FetchRequest, "offset" | "length">,
  listedBytes: number,
  pace: JobPace,
  turns: Turns,
  connect: () => Promise<Client>,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  let failure: DrayError | undefined;
  let expectedBytes = listedBytes - file.writtenBytes + REQUEST_COST_BYTES;
  pace.expect(expectedBytes);
  const endTurn = await turns.take();
  try {
    let offset = file.writtenBytes;
    let isLast = false;
    while (!isLast) {
      const missingBytes = Math.max(1, (file.isBegun ? file.sizeBytes : listedBytes) - offset);
      const takenBytes = await pace.take(missingBytes + REQUEST_COST_BYTES);
      if (takenBytes === undefined || failure !== undefined) break;
      expectedBytes -= takenBytes;
      const client = await connect();
      const length = takenBytes - REQUEST_COST_BYTES;
      const delayMs = file.isBegun ? 0 : request.delayMs;
      const part: Promise<void> = client
        .fetch({ ...request, delayMs, offset, length }, file)
        .catch((error: unknown) => {
          failure ??= asDrayError(error);
        })
        .finally(() => underWay.delete(part));
      underWay.add(part);
      offset += length;
      isLast = length >= missingBytes;
      // Only the first answer says how large the file really is.
      if (!file.isBegun && !isLast) await part;
      else if (underWay.size >= MAX_REQUESTS_UNDER_WAY) await Promise.race(underWay);
      isLast ||= failure !== undefined || (file.isBegun && offset >= file.sizeBytes);
    }
  } catch (error) {
    failure ??= asDrayError(error);
  } finally {
    pace.expect(-expectedBytes);
    endTurn();
  }
  await Promise.all(underWay);
  if (failure !== undefined) throw failure;
}
