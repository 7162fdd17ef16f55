// JSON.stringify leaves these as they are, but some readers take them for line ends (U+0085,
// U+2028, U+2029) and a terminal takes C1 for commands. As escapes they mean the same value.
const UNSAFE_IN_A_LINE = /[\u007f-\u009f\u2028\u2029]/g;

/** A value as one line of JSON Lines, its newline included. Reading it back gives the same value. */
export function jsonLine(value: object): string {
  return `${JSON.stringify(value).replace(UNSAFE_IN_A_LINE, unicodeEscape)}\n`;
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
