import type { Placement } from "./placement.ts";

/** One part that lacks copies, who has good ones, and who shall have one. */
export interface Restore {
  part: number;
  /** Servers with a good copy, at least one. */
  from: number[];
  to: number[];
}

/**
 * What a repair can do next: every part that lacks copies and has a good one. Pure. Parts that have none are
 * beyond it; once nothing is left that it can do, `Placement.short` says which those are.
 * @param tried parts that could not be read from anybody
 */
export function restoresOf(placement: Placement, tried: ReadonlySet<number>): Restore[] {
  const restores = new Map<number, Restore>();
  for (const { part, server } of placement.missing()) {
    if (tried.has(part)) continue;
    const known = restores.get(part);
    if (known !== undefined) known.to.push(server);
    else {
      const from = placement.living(part);
      if (from.length > 0) restores.set(part, { part, from, to: [server] });
    }
  }
  return [...restores.values()];
}

/** Restores that are made at the same time: as many as fit into so many bytes of temp files, at least one. */
export function batchesOf(restores: readonly Restore[], partBytes: number, limitBytes: number): Restore[][] {
  const perBatch = Math.max(1, Math.floor(limitBytes / partBytes));
  return Array.from({ length: Math.ceil(restores.length / perBatch) }, (_, batch) =>
    restores.slice(batch * perBatch, (batch + 1) * perBatch),
  );
}
