import { describe, expect, test } from "bun:test";
import { EXIT } from "../../src/errors/codes.ts";
import { exitCodeOfOrder } from "../../src/report/order-exit-code.ts";
import { resultText } from "../../src/report/order-result.ts";
import type { SourceStatus } from "../../src/wire/order.ts";
import { failure, HOSTILE_NAME, result, sourceResult } from "./report-order-events.ts";

describe("resultText", () => {
  test("an order with trouble names every source and every failure", () => {
    const { type: _type, orderId: _orderId, ...failed } = failure();
    const text = resultText(
      result({
        files: 352,
        bytes: 1_200_000_000,
        bytesTransferred: 1_100_000_000,
        failed: 2,
        durationMs: 12_345,
        sources: [
          sourceResult(),
          sourceResult({
            host: "10.0.0.3",
            path: "my pics",
            status: "unreachable",
            files: 0,
            bytes: 0,
            error: "connection refused (ECONNREFUSED)",
          }),
          sourceResult({ host: "::1", port: 9001, path: ".", status: "not-found", files: 0, bytes: 0 }),
          sourceResult({
            host: "10.0.0.4",
            status: "partial",
            files: 12_000,
            bytes: 1_190_000_000,
            error: "2 items failed",
          }),
        ],
        failures: [
          failed,
          { ...failed, path: "docs/b c.txt", code: "timeout", message: "no data came for 30 s" },
        ],
      }),
    );
    expect(text).toBe(
      [
        "SOURCE                   STATUS        FILES      SIZE",
        "10.0.0.2:9000 docs       complete        340  9.54 MiB",
        '10.0.0.3:9000 "my pics"  unreachable       0       0 B  connection refused (ECONNREFUSED)',
        "[::1]:9001 .             not found         0       0 B",
        "10.0.0.4:9000 docs       partial      12,000  1.11 GiB  2 items failed",
        "",
        "Files        352 (12 unchanged)",
        "Directories  17",
        "Size         1.12 GiB (1,200,000,000 bytes)",
        "Transferred  1.02 GiB (1,100,000,000 bytes) in 12.3 s (85.0 MiB/s)",
        "File size    mean 28.7 KiB, standard deviation 10.9 KiB, variance 123,456,789 B²",
        "Skipped      3",
        "Failed       2",
        "",
        "Failed:",
        "  10.0.0.2:9000 docs/a.txt: the file changed while it was being sent (changed)",
        '  10.0.0.2:9000 "docs/b c.txt": no data came for 30 s (timeout)',
        "",
      ].join("\n"),
    );
  });

  test("an order without trouble has no list of failures", () => {
    const text = resultText(result());
    expect(text).not.toContain("Failed:");
    expect(text).toEndWith("Failed       0\n");
  });

  test("an empty, instant order shows no rate and no nonsense", () => {
    const nothing = { files: 0, directories: 0, bytes: 0, bytesTransferred: 0, unchanged: 0, skipped: 0 };
    const text = resultText(
      result({
        ...nothing,
        sizeMean: 0,
        sizeVariance: 0,
        sizeStddev: 0,
        durationMs: 0,
        sources: [sourceResult({ files: 0, bytes: 0 })],
      }),
    );
    expect(text).toContain("Transferred  0 bytes in 0 ms\n");
    expect(text).not.toMatch(/NaN|Infinity|undefined|null/);
  });

  test("a capped list of failures says how many more there are", () => {
    const { type: _type, orderId: _orderId, ...failed } = failure();
    const failures = Array.from({ length: 1000 }, (_, index) => ({ ...failed, path: `docs/${index}` }));
    const text = resultText(result({ failed: 101_000, failures }));
    expect(text).toContain("docs/999:");
    expect(text).toEndWith("  … and 100,000 more (--json prints every one as it happens)\n");
  });

  test("a very long source is shown whole and does not widen the table for the others", () => {
    const path = `deep/${"x".repeat(300)}`;
    const lines = resultText(result({ sources: [sourceResult(), sourceResult({ path })] })).split("\n");
    expect(lines[1]?.length).toBeLessThan(100);
    expect(lines[2]).toContain(`10.0.0.2:9000 ${path}  complete`);
  });

  test("no name or message can carry a control character into it", () => {
    const hostile = { host: HOSTILE_NAME, port: 1, path: HOSTILE_NAME };
    const text = resultText(
      result({
        orderId: HOSTILE_NAME,
        failed: 1,
        sources: [sourceResult({ ...hostile, status: "partial", error: HOSTILE_NAME })],
        failures: [{ ...hostile, code: HOSTILE_NAME, message: HOSTILE_NAME }],
      }),
    );
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
    expect(text.split("\n")).toHaveLength(2 + 1 + 7 + 1 + 2 + 1);
  });
});

describe("exitCodeOfOrder", () => {
  const statuses = (...list: SourceStatus[]) => list.map((status) => sourceResult({ status }));
  const nothing = { files: 0, directories: 0 };

  test.each([
    ["all is there", result({ sources: statuses("complete", "complete") }), EXIT.ok],
    ["all is there, and it was nothing", result({ ...nothing, sources: statuses("complete") }), EXIT.ok],
    ["skipped links are no failure", result({ skipped: 9 }), EXIT.ok],
    ["an item failed", result({ failed: 1, sources: statuses("partial") }), EXIT.partial],
    ["an item failed though every source says complete", result({ failed: 1 }), EXIT.partial],
    ["a source is partial", result({ sources: statuses("complete", "partial") }), EXIT.partial],
    ["the only item failed", result({ ...nothing, failed: 1, sources: statuses("partial") }), EXIT.partial],
    ["one of two is not found", result({ sources: statuses("complete", "not-found") }), EXIT.partial],
    ["none is found", result({ ...nothing, sources: statuses("not-found", "not-found") }), EXIT.notFound],
    [
      "none is reachable",
      result({ ...nothing, sources: statuses("unreachable", "unreachable") }),
      EXIT.unreachable,
    ],
    ["all refuse", result({ ...nothing, failed: 1, sources: statuses("refused") }), EXIT.refused],
    [
      "nothing came, for different reasons",
      result({ ...nothing, sources: statuses("refused", "not-found") }),
      EXIT.partial,
    ],
    [
      "nothing was missing but one was dead",
      result({ ...nothing, sources: statuses("complete", "unreachable") }),
      EXIT.partial,
    ],
    ["it broke off, but files are there", result({ sources: statuses("unreachable") }), EXIT.partial],
    [
      "it broke off, but directories are there",
      result({ files: 0, sources: statuses("unreachable") }),
      EXIT.partial,
    ],
  ])("%s", (_case, order, code) => expect(exitCodeOfOrder(order)).toBe(code));
});
