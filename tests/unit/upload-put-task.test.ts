import { expect, test } from "bun:test";
import { DrayError } from "../../src/errors/dray-error.ts";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { type Failure, type PutTask, isWorthRetrying } from "../../src/upload/put-task.ts";

const MIB = 1024 * 1024;

function task(): PutTask {
  const file = { localPath: "a", path: "a", sizeBytes: 1, rootPath: "/", components: ["a"] };
  return { file, failures: 0 };
}

function failure(code: ErrorCode, connection: Failure["connection"] = "open", sentBytes = 0): Failure {
  return { error: new DrayError(code, "why"), connection, sentBytes };
}

/** How many attempts are made when each one fails like this. */
function attemptsOf(each: Failure, limit: number): number {
  const one = task();
  let attempts = 1;
  while (isWorthRetrying(one, each, limit) && attempts < 100) attempts++;
  return attempts;
}

test.each<ErrorCode>(["refused", "name", "no-space", "unauthorized", "unsupported", "not-found", "protocol"])(
  "what failed with %s is not tried again",
  (code) => {
    expect(attemptsOf(failure(code), 5)).toBe(1);
  },
);

test.each<ErrorCode>(["integrity", "changed", "busy", "timeout"])(
  "what failed with %s is tried as often as was said",
  (code) => {
    expect(attemptsOf(failure(code), 5)).toBe(5);
    expect(attemptsOf(failure(code), 1)).toBe(1);
  },
);

test("a connection that ends is made again, also if damage looked like a breach of protocol", () => {
  for (const code of ["closed", "timeout", "protocol", "integrity"] as const)
    expect(attemptsOf(failure(code, "cause"), 5)).toBe(5);
});

test("attempts that got on do not count, others start to count anew", () => {
  expect(attemptsOf(failure("closed", "cause", 2 * MIB), 3)).toBe(100);
  expect(attemptsOf(failure("integrity", "open", 2 * MIB), 3)).toBe(3);
  const one = task();
  expect(isWorthRetrying(one, failure("closed", "cause"), 3)).toBe(true);
  expect(isWorthRetrying(one, failure("closed", "cause", 2 * MIB), 3)).toBe(true);
  expect(isWorthRetrying(one, failure("closed", "cause"), 3)).toBe(true);
  expect(isWorthRetrying(one, failure("closed", "cause"), 3)).toBe(false);
});

test("who had no part in the end of a connection does not pay for it", () => {
  for (const code of ["closed", "protocol", "interrupted"] as const)
    expect(attemptsOf(failure(code, "bystander"), 2)).toBe(100);
});

test("a locked name may be one of our own that is about to be free: it is asked for again, and not for ever", () => {
  expect(attemptsOf(failure("locked"), 5)).toBe(5);
});
