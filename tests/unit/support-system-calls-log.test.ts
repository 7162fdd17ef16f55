import { expect, test } from "bun:test";
import { readLog } from "../support/crash/system-calls-log.ts";

const AT = "1795313024.902163";
const CLOSED = `12  ${AT} close(3) = 0\n`;

test("a thread that is gone before it could be asked what it calls is nothing that was called", () => {
  const alone = readLog(CLOSED);
  for (const gone of [
    `13  ${AT} ???() = ?\n`,
    `13  ${AT} ???( <unfinished ...>\n`,
    `13  ${AT} ???( <unfinished ...>\n13  ${AT} <... ??? resumed>) = ?\n`,
  ])
    expect(readLog(CLOSED + gone)).toEqual(alone);
});

test("an unknown call that gave a result is an error", () => {
  expect(() => readLog(`${CLOSED}13  ${AT} <... ??? resumed>) = 5\n`)).toThrow("unexpected");
});
