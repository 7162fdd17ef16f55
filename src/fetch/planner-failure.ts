import type { PieceBoard } from "./piece-board.ts";
import type { PlannedReplica } from "./planned-replica.ts";
import type { PlannerFailure } from "./planner-events.ts";

/** Whether, and why, there is no point in going on. Pure. */
export function failureOf(
  board: PieceBoard,
  replicas: readonly PlannedReplica[],
  { isOutOfPatience, isJoiningClosed }: { isOutOfPatience: boolean; isJoiningClosed: boolean },
): PlannerFailure | undefined {
  const present = replicas.filter((replica) => !replica.isOut);
  if (!isOutOfPatience && (!isJoiningClosed || present.some(({ requests }) => requests.length > 0)))
    return undefined;
  const parts: number[] = [];
  for (let part = 0; part < board.partCount; part++) if (board.missingOf(part) > 0) parts.push(part);
  const holds = (replica: PlannedReplica): boolean => parts.some((part) => replica.holds(part));
  const awaited = present.filter(holds);
  if (!isOutOfPatience && awaited.length > 0) return undefined;
  return {
    parts,
    missingBytes: board.missingBytes(),
    why: whyOf(),
    awaited: awaited.map(({ id }) => id),
  };

  function whyOf(): PlannerFailure["why"] {
    const orphans = parts.filter((part) => !present.some((replica) => replica.holds(part)));
    const isQuarantined = ({ state }: PlannedReplica): boolean => state === "quarantined";
    const liars = replicas.filter(isQuarantined);
    if (orphans.some((part) => liars.some((liar) => liar.holds(part)))) return "wrong";
    const areThere = awaited.every(({ state }) => state === "connected");
    if (areThere && parts.some((part) => !board.isKnown(part))) return "disputed";
    return orphans.length > 0 ? "absent" : "unreachable";
  }
}
