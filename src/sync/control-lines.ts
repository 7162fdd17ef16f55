import { DrayError } from "../errors/dray-error.ts";

/** A question to a running dray: `{"type":"status"}`. */
export interface ControlRequest {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** Cuts bytes into lines. */
export class ControlLines {
  readonly #maxBytes: number;
  #parts: Uint8Array[] = [];
  #partBytes = 0;

  /** @param maxBytes longest line */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @returns the lines that are complete now. @throws DrayError "protocol" for one that is too long */
  push(bytes: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, from)) {
      this.#add(bytes.subarray(from, end));
      lines.push(Buffer.concat(this.#parts).toString("utf8"));
      this.#parts = [];
      this.#partBytes = 0;
      from = end + 1;
    }
    this.#add(bytes.subarray(from));
    return lines;
  }

  #add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#partBytes += bytes.length;
    if (this.#partBytes > this.#maxBytes)
      throw new DrayError("protocol", `a line on the control socket is longer than ${this.#maxBytes} bytes`);
    this.#parts.push(bytes.slice());
  }
}

const LINE_FEED = 0x0a;

/** @throws DrayError "protocol" for what is no JSON object with a `type` */
export function parseControlLine(line: string): ControlRequest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch (error) {
    throw new DrayError("protocol", "a line on the control socket is no JSON", { cause: error });
  }
  if (typeof parsed === "object" && parsed !== null && "type" in parsed && typeof parsed.type === "string")
    return parsed as ControlRequest;
  throw new DrayError("protocol", "a line on the control socket is no object with a type");
}
