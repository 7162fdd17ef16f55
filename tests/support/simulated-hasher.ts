import { DrayError } from "../../src/errors/dray-error.ts";
import type { Clock, Hasher, Md5, OpenFile, RunningDigest } from "../../src/sync/ports.ts";
import type { Random } from "./random.ts";

/** Hashing that takes a while: ranges of files are read when it gets to them, which may be late. */
export class SimulatedHasher implements Hasher {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #isDead: () => boolean;
  /** What one step takes, from and to. */
  stepMs: readonly [number, number] = [0, 3];

  constructor(clock: Clock, random: Random, isDead: () => boolean) {
    this.#clock = clock;
    this.#random = random;
    this.#isDead = isDead;
  }

  md5(bytes: Uint8Array): Md5 {
    return new Uint8Array(new Bun.CryptoHasher("md5").update(bytes).digest());
  }

  begin(): RunningDigest {
    return new SimulatedDigest((step) => {
      const [fromMs, toMs] = this.stepMs;
      this.#clock.wake(this.#clock.monotonicMs() + fromMs + this.#random.next() * (toMs - fromMs), () => {
        if (!this.#isDead()) step();
      });
    });
  }
}

type Step =
  | { kind: "bytes"; bytes: Uint8Array }
  | { kind: "range"; file: OpenFile; from: number; length: number }
  | { kind: "digest"; resolve: (md5: Md5) => void; reject: (error: Error) => void };

class SimulatedDigest implements RunningDigest {
  readonly #hasher = new Bun.CryptoHasher("md5");
  readonly #later: (step: () => void) => void;
  #steps: Step[] = [];
  #pendingBytes = 0;
  #isRunning = false;
  #isClosed = false;
  #error: Error | undefined;

  constructor(later: (step: () => void) => void) {
    this.#later = later;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  add(bytes: Uint8Array): void {
    this.#pendingBytes += bytes.length;
    this.#push({ kind: "bytes", bytes: bytes.slice() });
  }

  addRange(file: OpenFile, fromBytes: number, lengthBytes: number): void {
    this.#pendingBytes += lengthBytes;
    this.#push({ kind: "range", file, from: fromBytes, length: lengthBytes });
  }

  digest(): Promise<Md5> {
    const { promise, resolve, reject } = Promise.withResolvers<Md5>();
    this.#push({ kind: "digest", resolve, reject });
    return promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const step of this.#steps) if (step.kind === "digest") step.reject(interrupted());
    this.#steps = [];
    this.#pendingBytes = 0;
  }

  #push(step: Step): void {
    if (this.#isClosed) {
      if (step.kind === "digest") step.reject(interrupted());
      return;
    }
    this.#steps.push(step);
    this.#run();
  }

  #run(): void {
    if (this.#isRunning || this.#steps.length === 0) return;
    this.#isRunning = true;
    this.#later(() => {
      this.#isRunning = false;
      const step = this.#steps.shift();
      if (step === undefined) return;
      this.#take(step);
      this.#run();
    });
  }

  #take(step: Step): void {
    if (step.kind === "bytes") {
      this.#hasher.update(step.bytes);
      this.#pendingBytes -= step.bytes.length;
    } else if (step.kind === "range") {
      this.#pendingBytes -= step.length;
      try {
        const bytes = new Uint8Array(step.length);
        if (step.file.read(bytes, step.from) < step.length)
          throw new DrayError("changed", "the file became shorter while it was read");
        this.#hasher.update(bytes);
      } catch (error) {
        this.#error ??= error as Error;
      }
    } else if (this.#error !== undefined) step.reject(this.#error);
    else step.resolve(new Uint8Array(this.#hasher.copy().digest()));
  }
}

function interrupted(): DrayError {
  return new DrayError("interrupted", "nobody waits for this digest any more");
}
