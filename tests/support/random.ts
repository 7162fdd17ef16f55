/** A stream of numbers that is the same for the same seed, everywhere. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** An integer in [from, to], both included. */
  integer(from: number, to: number): number;
  /** Fills the buffer. */
  fill(bytes: Uint8Array): void;
}

/** Mulberry32: small, fast, and even enough for test data. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next32 = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const next = (): number => next32() / 2 ** 32;
  return {
    next,
    integer: (from, to) => from + Math.floor(next() * (to - from + 1)),
    fill(bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const wholeWords = bytes.byteLength - (bytes.byteLength % 4);
      for (let offset = 0; offset < wholeWords; offset += 4) view.setUint32(offset, next32(), true);
      for (let offset = wholeWords; offset < bytes.byteLength; offset++) bytes[offset] = next32();
    },
  };
}
