import { Obstacle } from "../disk/contained-root.ts";
import { asDrayError, systemErrorCode } from "../errors/dray-error.ts";
import type { Outcome } from "./job.ts";

/**
 * @param isConnectionLost then even a breach of the protocol may have been an accident
 * @param writtenBytes how much of the item was there when it failed
 */
export function failedOutcome(error: unknown, isConnectionLost = false, writtenBytes = 0): Outcome {
  const known = asDrayError(error);
  const { code, message } = known;
  if (code === "no-space" && systemErrorCode(known.cause) !== undefined) {
    return { kind: "full", message, writtenBytes };
  }
  const isAccident = isConnectionLost && code === "protocol";
  const mayPass = known.retryable || isAccident;
  return {
    kind: "failed",
    code,
    message,
    mayPass,
    ...(known instanceof Obstacle ? { isObstructed: true } : {}),
  };
}
