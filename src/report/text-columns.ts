/** Text measured in terminal columns: a wide character takes two, a combining mark none. */

/** Made when the first text is cut: it takes as long as everything else that a program loads at its start. */
let graphemes: Intl.Segmenter | undefined;

/** Exactly `columns` wide: padded with spaces on the right, or cut in the middle with `…`. */
export function fitColumns(text: string, columns: number): string {
  const cut = cutColumns(text, columns);
  return cut + " ".repeat(Math.max(0, columns - Bun.stringWidth(cut)));
}

/** At most `columns` wide: cut in the middle with `…` when it is longer, as both ends of a path tell most. */
export function cutColumns(text: string, columns: number): string {
  if (Bun.stringWidth(text) <= columns) return text;
  if (columns < 1) return "";
  graphemes ??= new Intl.Segmenter(undefined, { granularity: "grapheme" });
  const parts = Array.from(graphemes.segment(text), (part) => part.segment);
  const head = takeColumns(parts, Math.floor((columns - 1) / 2));
  const tail = takeColumns(parts.reverse(), columns - 1 - Bun.stringWidth(head.join("")));
  return `${head.join("")}…${tail.reverse().join("")}`;
}

function takeColumns(parts: readonly string[], columns: number): string[] {
  let left = columns;
  const end = parts.findIndex((part) => (left -= Bun.stringWidth(part)) < 0);
  return parts.slice(0, end === -1 ? parts.length : end);
}
