import { type FetchAsked, ScriptedSource } from "./scripted-source.ts";
import type { WaitOptions } from "./wait.ts";
import { dataFrame, fileFrame, piecesOf } from "./wire-bytes.ts";

const MIB = 1024 * 1024;

/** What a source sent at once, and when, on the clock of performance.now(). */
export interface Sent {
  atMs: number;
  bytes: number;
}

/** Of what a request without an end asks for, this much is sent, and then nothing any more. */
export const STALLS_AFTER_BYTES = MIB;

/** A fast source that keeps a record of what it sends. */
export class BandwidthSource implements Disposable {
  readonly source: ScriptedSource;
  readonly sent: Sent[] = [];

  /** @param stalls whether it stops in the middle of what has no end, as if it were slow from there on */
  constructor(files: Record<string, Uint8Array>, stalls = false) {
    this.source = new ScriptedSource({
      files,
      fetch: (connection, asked) => {
        const { path, offset, length, id, digest } = asked;
        const contents = files[path]!;
        const size = contents.length;
        if (!stalls || length < size) {
          this.#sent(Math.max(0, Math.min(length, size - offset)));
          connection.answerFetch(asked);
          return;
        }
        this.#sent(STALLS_AFTER_BYTES);
        const pieces = piecesOf(contents.subarray(offset, offset + STALLS_AFTER_BYTES), MIB / 4);
        connection.send(
          fileFrame(id, { size, offset, length: size - offset }),
          ...pieces.map((piece) => dataFrame(id, digest, piece)),
        );
      },
    });
  }

  get port(): number {
    return this.source.port;
  }

  get fetches(): readonly FetchAsked[] {
    return this.source.fetches;
  }

  /** File bytes that left in a span of time. */
  bytesBetween(fromMs: number, untilMs: number): number {
    return this.sent.reduce(
      (sum, { atMs, bytes }) => sum + (atMs > fromMs && atMs <= untilMs ? bytes : 0),
      0,
    );
  }

  get bytes(): number {
    return this.bytesBetween(-Infinity, Infinity);
  }

  /** Waits until so much more has left. */
  async sends(bytes: number, options: WaitOptions = {}): Promise<void> {
    const from = this.bytes;
    await this.source.until(() => (this.bytes - from >= bytes ? true : undefined), `${bytes} bytes`, options);
  }

  [Symbol.dispose](): void {
    this.source[Symbol.dispose]();
  }

  #sent(bytes: number): void {
    this.sent.push({ atMs: performance.now(), bytes });
  }
}

/** The most that left in any span of this length. */
export function mostWithin(sent: readonly Sent[], spanMs: number): number {
  let most = 0;
  let bytes = 0;
  let first = 0;
  for (const { atMs, bytes: added } of sent) {
    bytes += added;
    while (sent[first]!.atMs < atMs - spanMs) bytes -= sent[first++]!.bytes;
    most = Math.max(most, bytes);
  }
  return most;
}
