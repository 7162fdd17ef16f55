import { type DrayError, asDrayError } from "../../src/errors/dray-error.ts";

/** The code of what an action throws, system errors included; "no error" if it throws nothing. */
export function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return asDrayError(error).code;
  }
  return "no error";
}

/** What a promise is rejected with; undefined if it is not. */
export async function rejectionOf(promise: Promise<unknown>): Promise<DrayError | undefined> {
  return await promise.then(
    () => undefined,
    (error: unknown) => asDrayError(error),
  );
}

/** The code of that. */
export async function rejectionCodeOf(promise: Promise<unknown>): Promise<string> {
  return (await rejectionOf(promise))?.code ?? "no error";
}
