import { expect, test } from "bun:test";
import { Condition, withDeadline } from "../support/wait.ts";

test("a deadline that passes names what was waited for", async () => {
  const never = new Promise<void>(() => undefined);
  await expect(withDeadline(never, 5, () => "godot")).rejects.toThrow("Waited 5 ms in vain for godot");
  expect(await withDeadline(Promise.resolve(7), 5, () => "seven")).toBe(7);
});

test("a condition looks at once, and again after every change", async () => {
  const condition = new Condition();
  let count = 0;
  const three = condition.until(
    () => (count >= 3 ? count : undefined),
    () => "three",
  );
  for (let turn = 0; turn < 3; turn++) {
    count++;
    condition.changed();
    await Promise.resolve();
  }
  expect(await three).toBe(3);
  const atOnce = condition.until(
    () => 0,
    () => "a number",
    { timeoutMs: 0 },
  );
  expect(await atOnce).toBe(0);
});

test("what a condition's probe throws reaches the waiter", async () => {
  const condition = new Condition();
  let broken = false;
  const waiting = condition.until(
    () => {
      if (broken) throw new Error("the process is gone");
      return undefined;
    },
    () => "nothing",
  );
  broken = true;
  condition.changed();
  await expect(waiting).rejects.toThrow("the process is gone");
});
