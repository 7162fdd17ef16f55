import { readFileSync } from "node:fs";
import { join } from "node:path";

/** docs/PROTOCOL.md, taken apart for the tests that hold it to the code. */

export interface Table {
  /** The `## heading` above it. */
  section: string;
  /** The last line of text above it. */
  caption: string;
  /** One object a row, by the names in the table's head. */
  rows: Record<string, string>[];
}

interface ExampleBlock {
  from: "client" | "server";
  bytes: Uint8Array;
}

const lines = readFileSync(join(import.meta.dir, "../../docs/PROTOCOL.md"), "utf8").split("\n");

/** Every table of the document whose head is exactly this. */
export function tablesWithHead(...head: string[]): Table[] {
  return allTables().filter((table) => table.head.join("|") === head.join("|"));
}

/** The one table of the document with this head. */
export function tableWithHead(...head: string[]): Record<string, string>[] {
  const [table, ...others] = tablesWithHead(...head);
  if (table === undefined || others.length > 0) {
    throw new Error(`There are ${others.length + (table ? 1 : 0)} tables "${head.join(" | ")}", not one`);
  }
  return table.rows;
}

/** The worked example: what each side sends, in order. */
function exampleBlocks(): ExampleBlock[] {
  const blocks: ExampleBlock[] = [];
  for (const [index, line] of lines.entries()) {
    const from = /^```hex (client|server)$/.exec(line)?.[1];
    if (from !== "client" && from !== "server") continue;
    const end = lines.indexOf("```", index);
    const digits = lines.slice(index + 1, end).map((one) => one.replace(/#.*/, "").replaceAll(" ", ""));
    blocks.push({ from, bytes: fromHex(digits.join("")) });
  }
  return blocks;
}

/** All that one side sends in the worked example. */
export function exampleStream(from: ExampleBlock["from"]): Uint8Array {
  return Buffer.concat(
    exampleBlocks()
      .filter((block) => block.from === from)
      .map((block) => block.bytes),
  );
}

export function fromHex(digits: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(digits)) throw new Error(`Not bytes in hexadecimal: "${digits}"`);
  return new Uint8Array(Buffer.from(digits, "hex"));
}

function allTables(): (Table & { head: string[] })[] {
  const tables: (Table & { head: string[] })[] = [];
  let section = "";
  let caption = "";
  for (const [index, line] of lines.entries()) {
    if (line.startsWith("## ")) section = line.slice(3);
    if (line !== "" && !line.startsWith("|")) caption = line;
    if (!line.startsWith("| ---")) continue;
    const head = cells(lines[index - 1] ?? "");
    const rows: Record<string, string>[] = [];
    for (let at = index + 1; lines[at]?.startsWith("|") === true; at++) {
      const row = cells(lines[at] ?? "");
      if (row.length !== head.length) throw new Error(`A row that does not fit its table: ${lines[at]}`);
      rows.push(Object.fromEntries(head.map((name, column) => [name, row[column] ?? ""])));
    }
    tables.push({ section, caption, head, rows });
  }
  return tables;
}

function cells(line: string): string[] {
  return line
    .slice(1, -1)
    .split("|")
    .map((cell) => cell.trim());
}
