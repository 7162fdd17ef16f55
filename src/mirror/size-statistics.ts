/** All that is known of sizes, to be kept and merged again. */
export interface SizeSums {
  count: number;
  sumBytes: number;
  mean: number;
  /** Sum of the squared distances from the mean. */
  squaredDistance: number;
}

/**
 * Count, sum, mean and variance of file sizes in one pass and constant memory, without the
 * cancellation that a sum of squares suffers from (Welford, "Note on a Method for Calculating
 * Corrected Sums of Squares and Products", 1962).
 */
export class SizeStatistics {
  #count = 0;
  #sumBytes = 0;
  #mean = 0;
  #squaredDistance = 0;

  add(sizeBytes: number): void {
    this.#count++;
    this.#sumBytes += sizeBytes;
    const distance = sizeBytes - this.#mean;
    this.#mean += distance / this.#count;
    this.#squaredDistance += distance * (sizeBytes - this.#mean);
  }

  /**
   * Adds all that another one has seen (Chan, Golub, LeVeque, "Updating Formulae and a Pairwise
   * Algorithm for Computing Sample Variances", 1979).
   */
  merge(other: SizeSums): void {
    if (other.count === 0) return;
    const count = this.#count + other.count;
    const distance = other.mean - this.#mean;
    this.#squaredDistance +=
      other.squaredDistance + distance * distance * ((this.#count / count) * other.count);
    this.#mean += (distance * other.count) / count;
    this.#sumBytes += other.sumBytes;
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  get sumBytes(): number {
    return this.#sumBytes;
  }

  /** Zero for no files. */
  get mean(): number {
    return this.#mean;
  }

  get squaredDistance(): number {
    return this.#squaredDistance;
  }

  /** Population variance. */
  get variance(): number {
    return this.#count === 0 ? 0 : this.#squaredDistance / this.#count;
  }

  get standardDeviation(): number {
    return Math.sqrt(this.variance);
  }
}
