import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError, asDrayError, systemErrorCode } from "../../src/errors/dray-error.ts";
import { delayAfterAttempt } from "../../src/net/backoff.ts";
import { dial, showTarget, withRetry } from "../../src/net/dial.ts";
import { listen } from "../../src/net/listener.ts";
import { runs } from "../property/runs.ts";

describe("dialling", () => {
  test("a port where nobody listens, and a name that nobody has, are unreachable", async () => {
    const listener = listen("127.0.0.1", 0, () => {});
    listener.stop();
    for (const target of [
      { host: "127.0.0.1", port: listener.port },
      { host: "no-such-host.invalid", port: 1 },
    ]) {
      const error = await dial(target, 10_000, () => "connected").catch((error: unknown) => error);
      expect(error).toBeInstanceOf(DrayError);
      expect((error as DrayError).code).toBe("unreachable");
      expect((error as DrayError).retryable).toBe(true);
    }
  });

  test("gives what `ready` made, in the tick in which the connection opened", async () => {
    const listener = listen("127.0.0.1", 0, (connection) => {
      connection.attach({ data: () => {}, drained: () => {}, ended: () => {}, closed: () => {} });
      connection.write(Uint8Array.of(42)); // the first byte may come at once: nobody may miss it
    });
    for (let round = 0; round < 20; round++) {
      const first = await dial({ host: "127.0.0.1", port: listener.port }, 5_000, (connection) => {
        const { promise, resolve } = Promise.withResolvers<number | undefined>();
        connection.attach({
          data: (chunk) => {
            resolve(chunk[0]);
            connection.destroy();
          },
          drained: () => {},
          ended: () => {},
          closed: () => {},
        });
        return { promise };
      });
      expect(await first.promise).toBe(42);
    }
    listener.stop();
  });

  test("shows targets as people write them", () => {
    expect(showTarget({ host: "example.org", port: 9000 })).toBe("example.org:9000");
    expect(showTarget({ host: "::1", port: 9000 })).toBe("[::1]:9000");
  });
});

describe("withRetry", () => {
  const backoff = { attempts: 3, firstDelayMs: 1, maxDelayMs: 2 };

  test("tries again while the error says that it can help, up to the last attempt", async () => {
    const attempts: number[] = [];
    const failing = withRetry(backoff, async (attempt) => {
      attempts.push(attempt);
      throw new DrayError("busy", `attempt ${attempt}`);
    });
    expect(failing).rejects.toThrow("attempt 3");
    await failing.catch(() => {});
    expect(attempts).toEqual([1, 2, 3]);
    expect(
      await withRetry(backoff, async (attempt) =>
        attempt < 3 ? Promise.reject(new DrayError("closed", "x")) : attempt,
      ),
    ).toBe(3);
  });

  test("gives up at once where trying again is pointless", async () => {
    for (const error of [
      new DrayError("not-found", "x"),
      new DrayError("protocol", "x"),
      new Error("a fault"),
    ]) {
      let attempts = 0;
      const outcome = await withRetry(backoff, async () => {
        attempts++;
        throw error;
      }).catch((error: unknown) => error);
      expect(attempts).toBe(1);
      expect(asDrayError(outcome).message).toBe(error.message);
    }
  });
});

describe("the delay after an attempt", () => {
  test("doubles from the first up to the cap, is spread by half, and ends with the last attempt", () => {
    fc.assert(
      fc.property(
        fc.record({ attempts: fc.nat(12), firstDelayMs: fc.nat(5_000), maxDelayMs: fc.nat(60_000) }),
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (backoff, attempt, random) => {
          const delayMs = delayAfterAttempt(backoff, attempt, random);
          expect(delayMs === undefined).toBe(attempt >= backoff.attempts);
          if (delayMs === undefined) return;
          let fullMs = backoff.firstDelayMs;
          for (let doubling = 1; doubling < attempt; doubling++) fullMs *= 2;
          fullMs = Math.min(fullMs, backoff.maxDelayMs);
          expect(Number.isInteger(delayMs)).toBe(true);
          expect(delayMs).toBeGreaterThanOrEqual(Math.floor(fullMs / 2));
          expect(delayMs).toBeLessThanOrEqual(fullMs);
        },
      ),
      runs(1000),
    );
  });

  test("differs with the random number over the whole of its half", () => {
    const backoff = { attempts: 5, firstDelayMs: 1000, maxDelayMs: 1500 };
    expect([0, 0.5, 0.999].map((random) => delayAfterAttempt(backoff, 1, random))).toEqual([500, 750, 1000]);
    expect([0, 0.5, 0.999].map((random) => delayAfterAttempt(backoff, 3, random))).toEqual([750, 1125, 1499]);
  });
});

test("a name server that does not answer now is worth another attempt", () => {
  const error = Object.assign(new Error("getaddrinfo EAI_AGAIN"), { code: "EAI_AGAIN" });
  expect(systemErrorCode(error)).toBe("EAI_AGAIN");
  expect(asDrayError(error)).toMatchObject({ code: "unreachable", retryable: true });
});
