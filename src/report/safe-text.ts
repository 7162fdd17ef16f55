/**
 * Names and messages come from other machines. Before a person sees them, everything that could
 * steer a terminal, forge a line, or reorder text is written as a visible escape.
 */

// Controls (C0, DEL, C1), line and paragraph separators, bidirectional overrides, lone surrogates,
// and the two invisible characters that make different names look the same.
const HARMFUL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\u200b\ufeff]/u;
const EVERY_HARMFUL = new RegExp(HARMFUL, "gu");

const SHORT_ESCAPES: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A sentence or message on one line without control characters; everything printable stays as it is. */
export function safeText(text: string): string {
  return text.replace(EVERY_HARMFUL, escapeOf);
}

/**
 * A name (path, file) that can stand inside a sentence: as it is when it is plain, otherwise in
 * double quotes with `\`, `"` and harmful characters escaped. Different names never read the same.
 */
export function safeName(name: string): string {
  if (name !== "" && !/[\s"\\]/.test(name) && !HARMFUL.test(name)) return name;
  return `"${safeText(name.replace(/["\\]/g, "\\$&"))}"`;
}

function escapeOf(character: string): string {
  const short = SHORT_ESCAPES[character];
  if (short !== undefined) return short;
  const hex = (character.codePointAt(0) ?? 0).toString(16);
  return hex.length <= 2 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`;
}
