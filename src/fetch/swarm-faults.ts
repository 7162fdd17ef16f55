import type { ErrorCode } from "../errors/codes.ts";
import { DrayError } from "../errors/dray-error.ts";
import type { PlannerFailure, RequestFault } from "./planner-events.ts";

const CODE_OF_FAILURE = {
  unreachable: "unreachable",
  disputed: "integrity",
  wrong: "integrity",
  absent: "partial",
} as const;

/** The fetch came to its end without the file. */
export class GivenUp extends DrayError {
  readonly failure: PlannerFailure;

  constructor(failure: PlannerFailure) {
    super(CODE_OF_FAILURE[failure.why], `${failure.missingBytes} bytes are missing`);
    this.failure = failure;
  }
}

/** Trying again changes nothing. */
export const FOR_GOOD: ReadonlySet<ErrorCode> = new Set(["unauthorized", "refused", "unsupported", "name"]);
/** What the planner is told of an answer that is an error. */
export function faultOf({ code, retryAfterMs }: DrayError): RequestFault {
  if (code === "integrity" || code === "protocol") return { kind: "damaged" };
  if (code === "not-found" || code === "refused" || code === "name" || code === "changed")
    return { kind: "absent" };
  return { kind: "fault", retryAfterMs };
}

export function silenceText(silentMs: number): string {
  return `it sent nothing of what it was asked for in ${Math.round(silentMs / 100) / 10} s`;
}
