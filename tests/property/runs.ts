/**
 * Parameters of a property: the same inputs on every run. fast-check prints the seed and the path of
 * a failure; FC_SEED tries other inputs.
 */
export function runs(numRuns: number): { numRuns: number; seed: number } {
  return { numRuns, seed: Number(process.env["FC_SEED"] ?? 20_261_121) };
}
