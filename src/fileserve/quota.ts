import { DrayError } from "../errors/dray-error.ts";

export interface QuotaLimits {
  /** Largest single file, in bytes; undefined: any. */
  maxFileBytes: number | undefined;
  /** What clients may take up together, in bytes: files, uploads under way and parked, and the trash. */
  maxTotalBytes: number | undefined;
}

/** What uploads take up, and whether there is room for one more. Pure. */
export class Quota {
  readonly #limits: QuotaLimits;
  /** Files that clients have put and that are there. */
  fileBytes = 0;
  /** Uploads under way count with the size that was announced. */
  reservedBytes = 0;
  /** What interrupted uploads have left. */
  parkedBytes = 0;
  /** Replaced and removed files. */
  trashBytes = 0;

  constructor(limits: QuotaLimits) {
    this.#limits = limits;
  }

  get usedBytes(): number {
    return this.fileBytes + this.reservedBytes + this.parkedBytes + this.trashBytes;
  }

  /** How many bytes would have to go first, so that so many more have room. */
  missingBytes(addedBytes: number): number {
    const { maxTotalBytes } = this.#limits;
    return maxTotalBytes === undefined ? 0 : Math.max(0, this.usedBytes + addedBytes - maxTotalBytes);
  }

  /**
   * @param sizeBytes of the whole file
   * @param parkedBytes of it that are there already, and counted
   * @throws DrayError "refused"
   */
  check(sizeBytes: number, parkedBytes: number): void {
    const { maxFileBytes, maxTotalBytes } = this.#limits;
    if (maxFileBytes !== undefined && sizeBytes > maxFileBytes) {
      throw new DrayError(
        "refused",
        `it has ${sizeBytes} bytes, and this server takes files of up to ${maxFileBytes}`,
      );
    }
    if (this.missingBytes(sizeBytes - parkedBytes) > 0) {
      throw new DrayError(
        "refused",
        `its ${sizeBytes} bytes would be over the limit of ${maxTotalBytes} bytes for all uploads together, of which ${this.usedBytes} are taken`,
      );
    }
  }
}
