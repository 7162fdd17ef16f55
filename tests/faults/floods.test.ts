import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { peakRssBytes } from "../support/memory.ts";
import { type ScriptedConnection, type Script, ScriptedSource } from "../support/scripted-source.ts";
import { sourceText, Stage } from "../support/stage.ts";
import {
  dataFrame,
  entries,
  errorFrame,
  frame,
  FRAME,
  listed,
  type WireEntry,
} from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const LIMIT_BYTES = 200_000_000;
const FLOOD_BYTES = 200_000_000;

/** Sends these bytes again and again, as fast as they are taken, until enough or until the client ends it. */
function flood(connection: ScriptedConnection, bytes: Uint8Array, ended: () => void): void {
  let left = FLOOD_BYTES;
  const more = (): void => {
    while (left > 0 && !connection.isClosed) {
      left -= bytes.length;
      if (!connection.send(bytes)) return;
    }
    connection.onDrained = undefined;
    ended();
  };
  connection.onDrained = more;
  more();
}

const manyPings = Buffer.concat(Array<Buffer>(5000).fill(frame(FRAME.ping, 0, new Uint8Array(0))));
const manyPongs = Buffer.concat(Array<Buffer>(5000).fill(frame(FRAME.pong, 0, new Uint8Array(0))));

/** Floods that end with the connection at the latest. */
const FLOODS: Record<string, Script> = {
  "a list that ignores the credit": {
    list: (connection, { id }) => {
      const batch = Array.from({ length: 1000 }, (_, index): WireEntry => ({
        path: `some/directory/file-${index}`,
      }));
      flood(connection, entries(id, batch), () => connection.end());
    },
  },
  "PINGs whose answers are never read": {
    list: (connection) => {
      connection.stopReading();
      flood(connection, manyPings, () => connection.reset());
    },
  },
  PONGs: { list: (connection) => flood(connection, manyPongs, () => connection.end()) },
  "errors of no request": {
    list: (connection) => flood(connection, errorFrame(77, 9, "x".repeat(16_000)), () => connection.end()),
  },
  "pieces of no request": {
    files: { file: Buffer.from("x") },
    fetch: (connection, { id, digest }) =>
      flood(connection, dataFrame(id + 1, digest, Buffer.alloc(1024 * 1024)), () => connection.end()),
  },
  "a piece that claims 4 GiB, and is sent": {
    files: { file: Buffer.from("x") },
    fetch: (connection, { id }) => {
      connection.send(frame(FRAME.data, id, Buffer.alloc(8), 0xffff_ffff));
      flood(connection, Buffer.alloc(1024 * 1024), () => connection.end());
    },
  },
  "pieces before the file": {
    files: { file: Buffer.from("x") },
    fetch: (connection, { id, digest }) =>
      flood(connection, dataFrame(id, digest, Buffer.alloc(1024 * 1024)), () => connection.end()),
  },
};

describe("a source that floods costs the mirror no memory, and the order ends", () => {
  test.each(Object.entries(FLOODS))("%s", async (_, script) => {
    using source = new ScriptedSource(script);
    await using stage = await Stage.open();
    const { code, result } = await stage.order([sourceText(source)]);
    expect([3, 7]).toContain(code!);
    expect(result.files).toBe(0);
    expect(peakRssBytes(stage.mirror.pid)).toBeLessThan(LIMIT_BYTES);
  });
});

describe("a list without end of things that are not fetched", () => {
  const kinds: WireEntry[][] = [
    [{ kind: "symlink", path: "l".repeat(200) }],
    [{ kind: "unnameable", path: "u".repeat(200) }],
    [{ kind: "unreadable", path: "r".repeat(200) }],
    [{ path: "../" + "x".repeat(200) }],
  ];
  const BATCHES = 500;
  const BATCH = 500;
  test.each(kinds)("%o", async (entry) => {
    const batch = (id: number): Buffer => entries(id, Array<WireEntry>(BATCH).fill(entry));
    let left = 0;
    using source = new ScriptedSource({
      list: (connection, { id, credit }) => {
        left = BATCHES - credit;
        for (let sent = 0; sent < credit; sent++) connection.send(batch(id));
      },
      more: (connection, id, credit) => {
        for (let sent = 0; sent < credit && left > 0; sent++, left--) connection.send(batch(id));
        if (left > 0) return;
        const files = (entry.kind ?? "file") === "file" ? BATCH * BATCHES : 0;
        connection.send(listed(id, files, 0, BATCH * BATCHES - files));
        left = Infinity;
      },
    });
    await using stage = await Stage.open();
    const { result } = await stage.order([sourceText(source)]);
    expect(result.skipped + result.failed).toBe(BATCHES * BATCH);
    expect(result.failures.length).toBeLessThanOrEqual(1000);
    expect(peakRssBytes(stage.mirror.pid)).toBeLessThan(LIMIT_BYTES);
  });
});
