import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { jsonLine } from "../../src/report/json-line.ts";
import { listeningLine } from "../../src/report/listening-line.ts";
import { safeName, safeText } from "../../src/report/safe-text.ts";
import { hostAndPort, sourceLabel } from "../../src/report/source-label.ts";
import { HOSTILE_NAME } from "./report-order-events.ts";

/** Any string of UTF-16 units, lone surrogates too, and many with the characters that do harm. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.string({
    unit: fc.constantFrom("\x1b", "[", "\n", "\r", "\0", "\x7f", "\x9b", "\u202e", '"', "\\", " ", "x", "1"),
  }),
);

// oxlint-disable-next-line no-control-regex
const HARMFUL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

describe("safeText", () => {
  test("leaves what is printable as it is", () => {
    const text = 'Grüße, "日本語" \\ 👩‍👧: 100 % (naïve)';
    expect(safeText(text)).toBe(text);
  });

  test("shows controls, escapes and reordering marks instead of sending them", () => {
    expect(safeText(HOSTILE_NAME)).toBe(
      "a\\x1b[2J\\nOrder done\\r\\u{202e}txt.exe\\x9b31m\\u{2028}\\u{d800}",
    );
    expect(safeText("tab\tnul\0del\x7f")).toBe("tab\\tnul\\x00del\\x7f");
  });

  test("no input leaves a control character, a line break or a lone surrogate", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        for (const shown of [safeText(text), safeName(text)]) {
          expect(shown).not.toMatch(HARMFUL);
          expect(shown.isWellFormed()).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("safeName", () => {
  test.each([
    ["docs/a.txt", "docs/a.txt"],
    ["日本語/ö'.txt", "日本語/ö'.txt"],
    [".", "."],
    ["", '""'],
    ["my file", '"my file"'],
    ['say "hi"', '"say \\"hi\\""'],
    ["back\\slash", '"back\\\\slash"'],
    ["a\nb", '"a\\nb"'],
    ["a\\nb", '"a\\\\nb"'],
    ["docs: permission denied", '"docs: permission denied"'],
  ])("%j is shown as %s", (name, shown) => expect(safeName(name)).toBe(shown));

  test("different names never read the same", () => {
    fc.assert(
      fc.property(anyText, anyText, (one, other) => {
        if (one !== other) expect(safeName(one)).not.toBe(safeName(other));
      }),
      { numRuns: 1000 },
    );
  });

  test("a name that spells another one's escapes is told apart from it", () => {
    fc.assert(
      fc.property(anyText, (name) => {
        const spelled = safeName(name);
        if (spelled !== name) expect(safeName(spelled)).not.toBe(spelled);
      }),
    );
  });
});

describe("labels", () => {
  test("an IPv6 address stands in brackets", () => {
    expect(hostAndPort("::1", 9000)).toBe("[::1]:9000");
    expect(hostAndPort("[::1]", 9000)).toBe("[::1]:9000");
    expect(hostAndPort("files.example", 9000)).toBe("files.example:9000");
  });

  test("a source is host, port and path", () => {
    expect(sourceLabel({ host: "10.0.0.2", port: 9000, path: "docs/my file" })).toBe(
      '10.0.0.2:9000 "docs/my file"',
    );
    expect(sourceLabel({ host: "evil\x1b]0;", port: 1, path: "." })).toBe("evil\\x1b]0;:1 .");
  });
});

describe("jsonLine", () => {
  test("is one line that reads back as the same value", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const line = jsonLine({ text });
        expect(line.endsWith("\n")).toBe(true);
        expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
        expect(JSON.parse(line)).toEqual({ text });
      }),
      { numRuns: 1000 },
    );
  });
});

describe("listeningLine", () => {
  test("for programs", () => {
    expect(listeningLine({ address: "127.0.0.1", port: 9000 }, true)).toBe(
      '{"type":"listening","address":"127.0.0.1","port":9000}\n',
    );
  });

  test("for people", () => {
    expect(listeningLine({ address: "127.0.0.1", port: 9000 }, false)).toBe("Listening on 127.0.0.1:9000\n");
    expect(listeningLine({ address: "::1", port: 9000 }, false)).toBe("Listening on [::1]:9000\n");
  });
});
