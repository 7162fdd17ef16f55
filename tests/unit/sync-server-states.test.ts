import { describe, expect, test } from "bun:test";
import { DeliveryState } from "../../src/sync/server/delivery-state.ts";
import { Strikes } from "../../src/sync/server/strikes.ts";
import { SYNC_STATUS } from "../../src/wire/sync-messages.ts";

const { ok, badChecksum, badSize, checksumAbort, sizeAbort, noFile, fileLocked, fileInUse, keepAlive } =
  SYNC_STATUS;

describe("strikes of an upload", () => {
  test("the third wrong checksum in a row ends it", () => {
    const strikes = new Strikes();
    expect(strikes.badChecksum()).toEqual({ code: badChecksum, isEnd: false });
    expect(strikes.badChecksum()).toEqual({ code: badChecksum, isEnd: false });
    expect(strikes.badChecksum()).toEqual({ code: checksumAbort, isEnd: true });
  });

  test("so does the third wrong size", () => {
    const strikes = new Strikes();
    expect([strikes.badSize(), strikes.badSize(), strikes.badSize()].map(({ code }) => code)).toEqual([
      badSize,
      badSize,
      sizeAbort,
    ]);
  });

  test("a good chunk begins the count anew, and the two are counted apart", () => {
    const strikes = new Strikes();
    strikes.badChecksum();
    strikes.badChecksum();
    strikes.badSize();
    strikes.badSize();
    expect(strikes.good()).toEqual({ code: ok, isEnd: false });
    expect(strikes.badChecksum().code).toBe(badChecksum);
    expect(strikes.badSize().code).toBe(badSize);
    expect(strikes.badChecksum().code).toBe(badChecksum);
    expect(strikes.badChecksum().isEnd).toBe(true);
  });
});

describe("answers to a delivery", () => {
  test.each([
    ["chunk", ok, "go-on"],
    ["close", ok, "done"],
    ["delete", ok, "done"],
    ["delete", noFile, "done"],
    ["chunk", noFile, "ignore"],
    ["chunk", fileInUse, "given-up"],
    ["close", fileInUse, "given-up"],
    ["delete", fileInUse, "given-up"],
    ["chunk", fileLocked, "given-up"],
    ["chunk", badChecksum, "resend"],
    ["chunk", badSize, "resend"],
    ["close", badChecksum, "dropped"],
    ["delete", badChecksum, "ignore"],
    ["chunk", checksumAbort, "dropped"],
    ["chunk", sizeAbort, "dropped"],
    ["chunk", keepAlive, "ignore"],
    ["chunk", 0x0100, "ignore"],
    ["chunk", 0, "ignore"],
    // Bits that do not fit together: the one that refuses counts.
    ["chunk", ok | fileInUse, "given-up"],
    ["chunk", ok | badChecksum, "resend"],
  ] as const)("%s, %i: %s", (sent, code, expected) => {
    const state = new DeliveryState(false);
    state.begins(10);
    expect(state.answered(sent, code)).toBe(expected);
  });

  test("three refusals of one chunk are an Abort; one that is taken in between begins anew", () => {
    const state = new DeliveryState(false);
    state.begins(10);
    expect(state.answered("chunk", badChecksum)).toBe("resend");
    expect(state.answered("chunk", badSize)).toBe("resend");
    expect(state.answered("chunk", ok)).toBe("go-on");
    expect(state.answered("chunk", badChecksum)).toBe("resend");
    expect(state.answered("chunk", badChecksum)).toBe("resend");
    expect(state.answered("chunk", badChecksum)).toBe("abort");
  });

  test("with several chunks under way a refused one cannot be sent again by itself", () => {
    const state = new DeliveryState(true);
    state.begins(10);
    expect(state.answered("chunk", badChecksum)).toBe("restart");
  });

  test("an empty file whose chunk is refused for its size is made by its Close", () => {
    const state = new DeliveryState(false);
    state.begins(0);
    expect(state.answered("chunk", badSize)).toBe("go-on");
    expect(state.answered("close", ok)).toBe("done");
  });
});
