import { describe, expect, test } from "bun:test";
import { quoteName, windowsProblem } from "../../src/wire/names.ts";

describe("windowsProblem", () => {
  test.each([
    ..."a:b a\\b a*b a?b a<b a>b a|b".split(" "),
    'a"b',
    "a\nb",
    "a\x1fb",
    "trailing.",
    "trailing ",
    "...",
    ...["CON", "con", "Prn.txt", "aux.tar.gz", "NUL", "com1", "COM9.log", "lpt1", "LPT5.x"],
  ])("finds fault with %j", (component) => {
    expect(windowsProblem(component)).toBeString();
  });

  test.each([
    "plain",
    "dots.in.it",
    " leading",
    ".hidden",
    "console",
    "con-fig",
    "com",
    "com10",
    "nullable",
    "日本語",
    "ü",
  ])("has nothing against %j", (component) => {
    expect(windowsProblem(component)).toBeUndefined();
  });

  // https://learn.microsoft.com/windows/win32/fileio/naming-a-file
  test.each(["com¹", "LPT³.txt", "nul .txt", "CONIN$", "conout$"])("knows the device %j", (component) => {
    expect(windowsProblem(component)).toBeString();
  });
});

describe("quoteName", () => {
  test("keeps plain names readable and escapes what would break a line or a terminal", () => {
    expect(quoteName("a b/ü")).toBe('"a b/ü"');
    expect(quoteName('a"b\n\x1b[31m\0')).toBe('"a\\"b\\n\\u001b[31m\\u0000"');
  });

  test("cuts long names", () => {
    expect(quoteName("x".repeat(5000)).length).toBeLessThan(220);
    expect(quoteName("🛒".repeat(500)).isWellFormed()).toBe(true);
  });

  test("escapes DEL, the C1 controls and marks that turn the direction of text", () => {
    expect(quoteName("a\x7f\x9b31m\u202eb")).not.toMatch(/[\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
  });
});
