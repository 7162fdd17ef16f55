/**
 * What a proxy does to the bytes that a server sends, by their position in the stream (0 is the first
 * byte of the connection). Pure: bytes in, steps out.
 */
export type Fault =
  /** Ends both sides before the byte at `atByte` is passed on: orderly (`fin`) or by reset (`rst`). */
  | { kind: "cut"; atByte: number; how: "fin" | "rst" }
  /** Turns over one bit (0 to 7, default 0) of the byte at `atByte`; at most one flip a byte. */
  | { kind: "flip"; atByte: number; bit?: number }
  /** Passes nothing on from `atByte` until the proxy is told to release. */
  | { kind: "stall"; atByte: number }
  /** Puts bytes of its own in front of the byte at `atByte`. */
  | { kind: "garbage"; atByte: number; bytes: Uint8Array }
  /** Passes on one byte at a time. */
  | { kind: "dribble" }
  /** Passes on at most so many bytes a second. */
  | { kind: "throttle"; bytesPerSecond: number };

export type PositionedFault = Extract<Fault, { atByte: number }>;

export type Step = { do: "send"; bytes: Uint8Array } | { do: "fault"; fault: PositionedFault };

/** Splits the stream of one connection at the places where a fault strikes. */
export class FaultLine {
  private position = 0;
  private readonly pending: PositionedFault[];

  constructor(faults: readonly Fault[]) {
    const takesItsByte = (fault: PositionedFault): number => (fault.kind === "flip" ? 1 : 0);
    this.pending = faults
      .filter((fault) => "atByte" in fault)
      .sort((a, b) => a.atByte - b.atByte || takesItsByte(a) - takesItsByte(b));
  }

  /** The steps for the next bytes of the stream. A fault at n strikes when byte n has come, or n bytes have passed. */
  steps(chunk: Uint8Array): Step[] {
    const steps: Step[] = [];
    let rest = chunk;
    const pass = (bytes: Uint8Array, count: number): void => {
      if (count > 0) steps.push({ do: "send", bytes });
      rest = rest.subarray(count);
      this.position += count;
    };
    for (let fault = this.pending[0]; fault !== undefined; fault = this.pending[0]) {
      const before = fault.atByte - this.position;
      if (before > rest.length) break;
      if (fault.kind === "flip" && before === rest.length) break;
      this.pending.shift();
      pass(rest.subarray(0, before), before);
      steps.push({ do: "fault", fault });
      if (fault.kind === "flip") pass(Uint8Array.of((rest[0] ?? 0) ^ (1 << (fault.bit ?? 0))), 1);
    }
    pass(rest, rest.length);
    return steps;
  }
}
