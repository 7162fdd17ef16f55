import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DrayError } from "../../src/errors/dray-error.ts";
import { MAX_TOKEN_BYTES, TokenList, parseClientToken } from "../../src/transfer/tokens.ts";
import { runs } from "../property/runs.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const ALICE = "alice:correct horse battery staple";
const BOB = "bob:Tr0ub4dor&3 and something more";

describe("a server's file of tokens", () => {
  test("lets in each of its lines, under its name, and nothing else", () => {
    const tokens = new TokenList(`# who may in\n\n${ALICE}\r\n  ${BOB}  \na secret without a name\n`);
    expect(tokens.find(bytes(ALICE))).toEqual({ name: "alice" });
    expect(tokens.find(bytes(BOB))).toEqual({ name: "bob" });
    expect(tokens.find(bytes("a secret without a name"))).toEqual({ name: undefined });
    const wrong = [
      "",
      "alice",
      "alice:",
      ALICE.slice(6),
      `${ALICE} `,
      `bob:${ALICE.slice(6)}`,
      "# who may in",
    ];
    for (const token of wrong) expect(tokens.find(bytes(token))).toBeUndefined();
    expect(tokens.warnings).toEqual([]);
  });

  test("may give one name two secrets, so that they can be changed one after the other", () => {
    const tokens = new TokenList(`${ALICE}\nalice:the new secret of hers`);
    expect(tokens.find(bytes(ALICE))).toEqual({ name: "alice" });
    expect(tokens.find(bytes("alice:the new secret of hers"))).toEqual({ name: "alice" });
  });

  test("lets in no token that differs in any byte", () => {
    const tokens = new TokenList(`${ALICE}\n${BOB}`);
    fc.assert(
      fc.property(
        fc.constantFrom(ALICE, BOB),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (line, at, flip) => {
          const token = Buffer.from(line);
          token[at % token.length]! ^= flip;
          expect(tokens.find(token)).toBeUndefined();
        },
      ),
      runs(500),
    );
  });

  test("warns of secrets that can be guessed, without showing them", () => {
    expect(new TokenList(`alice:hunter2\n${BOB}`).warnings.join()).toMatch(/^1 of 2 secrets .*16 bytes$/);
    expect(parseClientToken("alice:hunter2").warnings.join()).toContain("16 bytes");
  });

  const BAD: [string, string][] = [
    ["nothing", ""],
    ["only comments", "# hunter2\n\n"],
    ["a name without a secret", "hunter2:"],
    ["a secret without a name before the colon", ":hunter2"],
    ["a name with a space", "hunter two:hunter2"],
    ["a control character", "alice:hunter2\u0007"],
    ["bytes that are not UTF-8", "alice:hunter2\ufffd"],
    ["a token that is too long", `alice:hunter2${"x".repeat(MAX_TOKEN_BYTES)}`],
    ["too many", Array.from({ length: 1001 }, (_, index) => `hunter2-${index}`).join("\n")],
  ];
  test.each(BAD)("is refused with %s in it, and the message shows no secret", (_, text) => {
    for (const parse of [() => new TokenList(text), () => parseClientToken(text)]) {
      expect(parse).toThrow(DrayError);
      expect(parse).not.toThrow(/hunter/);
    }
  });
});

describe("a client's file", () => {
  test("holds one line, which is what the server is given", () => {
    expect(Buffer.from(parseClientToken(`# mine\n${ALICE}\n`).token).toString()).toBe(ALICE);
  });

  test("with two tokens is refused: which one is meant?", () => {
    expect(() => parseClientToken(`${ALICE}\n${BOB}`)).toThrow(/2 tokens/);
  });
});
