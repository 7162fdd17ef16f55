interface Runs {
  numRuns: number;
  seed: number;
  /** So that the report says which expectation failed, not only for what. */
  includeErrorInReport: true;
}

/**
 * Parameters of a property: the same inputs on every run. fast-check prints the seed and the path of
 * a failure; FC_SEED tries other inputs.
 */
export function runs(numRuns: number): Runs {
  return { numRuns, seed: Number(process.env["FC_SEED"] ?? 20_261_121), includeErrorInReport: true };
}
