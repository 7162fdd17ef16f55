import { expect, test } from "bun:test";
import fc from "fast-check";
import { tlsRecordAt } from "../../src/wire/tls-record.ts";
import { naiveMessage } from "../property/naive-codec.ts";
import { runs } from "../property/runs.ts";

test("knows the first record of a TLS client, and the alert of a TLS server", () => {
  expect(tlsRecordAt(Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3))).toBe("hello");
  expect(tlsRecordAt(Uint8Array.of(21, 3, 1, 0, 2, 2, 70))).toBe("alert");
  expect(tlsRecordAt(Uint8Array.of(21, 3, 3, 0, 2, 1, 0))).toBe("alert");
});

test("takes nothing else for one", () => {
  for (const text of ["", "G", "GET / HTTP/1.1\r\n\r\n", "\u0016\u0003", "\u0015\u0003\u0001"]) {
    expect(tlsRecordAt(Buffer.from(text))).toBeUndefined();
  }
});

test("no WELCOME looks like an alert, and no ERROR, however it is cut", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 100 }), fc.nat(120), fc.boolean(), (text, cut, isError) => {
      const message = isError
        ? naiveMessage({ type: "error", code: "busy", retryAfterMs: 0, message: text }, 0)
        : naiveMessage({ type: "welcome", version: 1, capabilities: 1, maxRequests: 256, agent: text }, 0);
      message.set([21, 3, 1, 0]); // whatever the check is
      expect(tlsRecordAt(message.subarray(0, cut))).toBeUndefined();
    }),
    runs(300),
  );
});
