import { describe, expect, test } from "bun:test";
import { DrayError } from "../../src/errors/dray-error.ts";
import { SyncDecoder } from "../../src/wire/sync-decoder.ts";
import { chunkHeadBytes, encodeSyncMessage, writeChunkHead } from "../../src/wire/sync-encoder.ts";
import {
  NO_MD5,
  SYNC_STATUS,
  type SyncEvent,
  describeStatus,
  hasStatus,
} from "../../src/wire/sync-messages.ts";
import { isReservedName, pairingName, pairingToken } from "../../src/wire/sync-reserved.ts";

const MD5 = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function eventsOf(digits: string): SyncEvent[] {
  const events: SyncEvent[] = [];
  new SyncDecoder().push(Buffer.from(digits.replaceAll(/[^0-9a-f]/g, ""), "hex"), (event) =>
    events.push(event),
  );
  return events;
}

describe("the bytes of the seed", () => {
  test("a chunk: type, digest, size, length of the name, name, data", () => {
    const target = new Uint8Array(chunkHeadBytes("ab"));
    expect(writeChunkHead(target, 0, "ab", MD5, 0x01020304)).toBe(26);
    expect(hex(target)).toBe(`0100${hex(MD5)}0403020102006162`);
    expect(eventsOf("0100 000102030405060708090a0b0c0d0e0f 03000000 0200 6162 636465")).toEqual([
      {
        type: "chunkHead",
        name: "ab",
        rawName: new Uint8Array([97, 98]),
        md5: new Uint8Array(MD5),
        sizeBytes: 3,
      },
      { type: "chunkData", data: new Uint8Array(Buffer.from("cde")) },
      { type: "chunkEnd" },
    ]);
  });

  test.each([
    ["close", "0300"],
    ["abort", "0400"],
    ["delete", "0500"],
    ["request", "0600"],
  ] as const)("%s: type, digest, length of the name, name", (type, digits) => {
    expect(hex(encodeSyncMessage({ type, name: "é", md5: MD5 }))).toBe(`${digits}${hex(MD5)}0200c3a9`);
  });

  test.each([
    ["ok", "0100"],
    ["badChecksum", "0200"],
    ["badSize", "0400"],
    ["checksumAbort", "0800"],
    ["sizeAbort", "1000"],
    ["noFile", "2000"],
    ["fileLocked", "4000"],
    ["fileInUse", "8000"],
    ["keepAlive", "0080"],
  ] as const)("status %s: type, code", (name, digits) => {
    expect(hex(encodeSyncMessage({ type: "status", code: SYNC_STATUS[name] }))).toBe(`0200${digits}`);
    expect(eventsOf(`0200${digits}`)).toEqual([{ type: "status", code: SYNC_STATUS[name] }]);
  });

  test("an empty chunk has a beginning and an end", () => {
    const types = eventsOf(`0100${hex(MD5)}00000000010061 02000100`).map((event) => event.type);
    expect(types).toEqual(["chunkHead", "chunkEnd", "status"]);
  });
});

describe("what cannot be sent", () => {
  const md5 = NO_MD5;
  test.each([
    ["an empty name", "", "needs a name"],
    ["a name of 65,536 bytes", "n".repeat(65_536), "65536 bytes"],
    ["half a surrogate pair", "a\ud800", "valid Unicode"],
  ])("%s", (_, name, why) => {
    expect(() => encodeSyncMessage({ type: "close", name, md5 })).toThrow(why);
    expect(() => writeChunkHead(new Uint8Array(100), 0, name, md5, 1)).toThrow(why);
  });

  test("a digest of another length", () => {
    expect(() => encodeSyncMessage({ type: "close", name: "a", md5: new Uint8Array(20) })).toThrow("not 20");
  });

  test.each([-1, 0.5, 2 ** 32, Number.NaN])("a chunk of %d bytes", (sizeBytes) => {
    expect(() => writeChunkHead(new Uint8Array(100), 0, "a", md5, sizeBytes)).toThrow(RangeError);
  });
});

describe("what is refused", () => {
  test.each([
    ["0700", "type 0x0007"],
    ["0001", "big-endian"],
    ["0000", "type 0x0000"],
    [`0300${hex(MD5)}0000`, "empty name"],
    [`0100${hex(MD5)}010000000000`, "empty name"],
  ])("%s", (digits, why) => {
    expect(() => eventsOf(digits)).toThrow(why);
    expect(() => eventsOf(digits)).toThrow(DrayError);
  });

  test("a name that is not UTF-8 has no text, and what follows is read", () => {
    const [first, second] = eventsOf(`0500${hex(MD5)}0200c328 02000100`);
    expect(first).toMatchObject({ type: "delete", name: undefined, rawName: new Uint8Array([0xc3, 0x28]) });
    expect(second).toEqual({ type: "status", code: 1 });
  });
});

describe("status codes", () => {
  test("are looked at bit by bit", () => {
    expect(hasStatus(0x0041, "ok")).toBe(true);
    expect(hasStatus(0x0041, "fileLocked")).toBe(true);
    expect(hasStatus(0x0041, "noFile")).toBe(false);
    expect(hasStatus(0x8000, "keepAlive")).toBe(true);
  });

  test("have words", () => {
    expect(describeStatus(0x0040)).toBe("fileLocked (0x0040)");
    expect(describeStatus(0x0041)).toBe("ok+fileLocked (0x0041)");
    expect(describeStatus(0x0100)).toBe("unknown status (0x0100)");
  });
});

test("reserved names are nobody's files", () => {
  for (const name of ["META-DATA", ".dray", ".dray/x", ".DRAY/staging/a"]) {
    expect([name, isReservedName(name)]).toEqual([name, true]);
  }
  for (const name of ["META-DATA.txt", "meta-data", "a/META-DATA", ".drayignore", "a/.dray", ""]) {
    expect([name, isReservedName(name)]).toEqual([name, false]);
  }
});

test("a pairing token is 32 hexadecimal digits", () => {
  const token = "0123456789abcdef".repeat(2);
  expect(pairingToken(pairingName(token))).toBe(token);
  expect(isReservedName(pairingName(token))).toBe(true);
  for (const bad of ["", "A".repeat(32), "a".repeat(31), "a".repeat(33), "../../../etc/passwd"]) {
    expect(pairingToken(pairingName(bad))).toBeUndefined();
  }
});
