import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SyncDecoder } from "../../src/wire/sync-decoder.ts";
import { SYNC_STATUS, SYNC_TYPE, type SyncEvent, hasStatus } from "../../src/wire/sync-messages.ts";

const lines = readFileSync(join(import.meta.dir, "../../docs/SYNC-PROTOCOL.md"), "utf8").split("\n");

/** The first column and second column of the rows that begin with a hexadecimal number, below a heading. */
function rowsBelow(heading: string): [number, string][] {
  const start = lines.indexOf(`## ${heading}`);
  const end = lines.findIndex((line, index) => index > start && line.startsWith("## "));
  return lines.slice(start, end).flatMap((line) => {
    const [, digits, text] = /^\| 0x([0-9a-f]{4}) \| (.*?) +\|/.exec(line) ?? [];
    return digits === undefined ? [] : [[parseInt(digits, 16), text!] satisfies [number, string]];
  });
}

function eventsOf(side: "client" | "server"): SyncEvent[] {
  const events: SyncEvent[] = [];
  const decoder = new SyncDecoder();
  for (const [index, line] of lines.entries()) {
    if (line !== `\`\`\`hex ${side}`) continue;
    const block = lines.slice(index + 1, lines.indexOf("```", index));
    const digits = block.map((row) => row.replace(/#.*/, "").replaceAll(" ", "")).join("");
    decoder.push(Buffer.from(digits, "hex"), (event) => events.push(event));
  }
  expect(decoder.isInsideMessage).toBe(false);
  return events;
}

test("the document has every message type and every code, with its number", () => {
  const types = rowsBelow("Messages").map(([number, name]) => [name.toLowerCase(), number]);
  expect(Object.fromEntries(types)).toEqual(SYNC_TYPE);
  const codes = rowsBelow("Status codes").map(([code]) => code);
  expect(codes).toEqual(Object.values(SYNC_STATUS));
});

test("the conversation in the document is what it says", () => {
  const md5 = new Uint8Array(createHash("md5").update("hello").digest());
  const client = eventsOf("client");
  expect(client.map((event) => event.type)).toEqual([
    "chunkHead",
    "chunkData",
    "chunkEnd",
    "close",
    "request",
  ]);
  expect(client[0]).toMatchObject({ name: "a.txt", md5, sizeBytes: 5 });
  expect(client[1]).toMatchObject({ data: new Uint8Array(Buffer.from("hello")) });
  expect(client[3]).toMatchObject({ name: "a.txt", md5 });
  expect(client[4]).toMatchObject({ name: "b", md5: new Uint8Array(16) });
  const server = eventsOf("server");
  expect(server.map((event) => event.type === "status" && hasStatus(event.code, "ok"))).toEqual([true, true]);
});
