import type { PlannerFailure } from "./planner-events.ts";
import type { Replica } from "./replica.ts";

/** Parts, and servers, that a failure names. */
const MAX_NAMED = 8;

/**
 * What is missing, and why.
 * @param replicas by their ids
 */
export function missingText(
  failure: PlannerFailure,
  partCount: number,
  replicas: readonly Replica[],
): string {
  const { missingBytes, parts } = failure;
  const which =
    partCount === 1
      ? ""
      : `, of part${parts.length > 1 ? "s" : ""} ${listed(parts.map(String))} of ${partCount} (counted from 0)`;
  return `${missingBytes} bytes are missing${which}; ${reasonText(failure, replicas)}`;
}

function reasonText({ why, awaited, parts }: PlannerFailure, replicas: readonly Replica[]): string {
  if (why === "absent") return "nobody who is there has them";
  if (why === "disputed") return "the servers did not agree on what is in them";
  if (why === "unreachable") {
    const names = awaited.map((id) => replicas[id]!.shown);
    return `those who have them cannot be reached, or send nothing: ${listed(names)}`;
  }
  const liars = replicas.filter(
    ({ status, whole, parts: held }) =>
      status === "quarantined" && (whole !== undefined || parts.some((part) => held.has(part))),
  );
  return `those who had them sent something else: ${listed(liars.map(({ shown }) => shown))}`;
}

/** `a, b and c`; of many, the first ones. */
function listed(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMED);
  if (names.length > MAX_NAMED) shown.push(`${names.length - MAX_NAMED} more`);
  return shown.length > 1 ? `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}` : (shown[0] ?? "");
}
