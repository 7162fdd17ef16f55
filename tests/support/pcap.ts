import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

/** What one side said at a time, as one or more TCP segments. */
export interface Said {
  from: "client" | "server";
  bytes: Uint8Array;
  /** Cut into segments of so many bytes; as large as they can be if not given. */
  segmentBytes?: number;
}

interface Conversation {
  serverPort: number;
  said: readonly Said[];
}

const MAX_SEGMENT_BYTES = 60_000;
const FLAGS = { syn: 0x02, synAck: 0x12, ack: 0x10, push: 0x18 } as const;

/** A capture file of TCP conversations over IPv4 without a link layer, one behind the other. */
export function writePcap(path: string, conversations: readonly Conversation[]): void {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(0x40000, 16);
  header.writeUInt32LE(101, 20);
  const packets = conversations.flatMap(({ serverPort, said }, index) =>
    segments(serverPort, 40_000 + index, said),
  );
  const records = packets.map((packet, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1_700_000_000, 0);
    record.writeUInt32LE(index, 4);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return Buffer.concat([record, packet]);
  });
  writeFileSync(path, Buffer.concat([header, ...records]));
}

function segments(serverPort: number, clientPort: number, said: readonly Said[]): Buffer[] {
  const next = { client: 1000, server: 9000 };
  const packet = (from: "client" | "server", flags: number, data: Uint8Array): Buffer => {
    const to = from === "client" ? "server" : "client";
    const bytes = Buffer.alloc(40 + data.length);
    bytes[0] = 0x45;
    bytes.writeUInt16BE(bytes.length, 2);
    bytes.writeUInt16BE(0x4000, 6);
    bytes[8] = 64;
    bytes[9] = 6;
    bytes.set(from === "client" ? [10, 0, 0, 1, 10, 0, 0, 2] : [10, 0, 0, 2, 10, 0, 0, 1], 12);
    const ports = { client: clientPort, server: serverPort };
    bytes.writeUInt16BE(ports[from], 20);
    bytes.writeUInt16BE(ports[to], 22);
    bytes.writeUInt32BE(next[from], 24);
    bytes.writeUInt32BE(flags === FLAGS.syn ? 0 : next[to], 28);
    bytes[32] = 0x50;
    bytes[33] = flags;
    bytes.writeUInt16BE(0xffff, 34);
    bytes.set(data, 40);
    next[from] += data.length + (flags === FLAGS.syn || flags === FLAGS.synAck ? 1 : 0);
    return bytes;
  };
  const none = new Uint8Array(0);
  const packets = [
    packet("client", FLAGS.syn, none),
    packet("server", FLAGS.synAck, none),
    packet("client", FLAGS.ack, none),
  ];
  for (const { from, bytes, segmentBytes = MAX_SEGMENT_BYTES } of said) {
    for (let at = 0; at < bytes.length; at += segmentBytes) {
      packets.push(packet(from, FLAGS.push, bytes.subarray(at, at + segmentBytes)));
    }
  }
  return packets;
}

export function hasTshark(): boolean {
  return spawnSync("tshark", ["--version"]).status === 0;
}

/**
 * What tshark reads from a capture with a Lua dissector: for each packet in which any of these fields
 * stands, all values of each of them.
 */
export function tsharkFields(
  pcap: string,
  script: string,
  fields: readonly string[],
  more: readonly string[] = [],
): string[][][] {
  const args = ["-r", pcap, "-X", `lua_script:${script}`, "-T", "fields", "-E", "occurrence=a"];
  args.push("-E", "aggregator=|", "-E", "separator=/t", ...fields.flatMap((field) => ["-e", field]), ...more);
  const run = spawnSync("tshark", args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  if (run.status !== 0 || /lua|error/i.test(run.stderr)) throw new Error(`tshark: ${run.stderr}`);
  return run.stdout
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => line.split("\t").map((values) => (values === "" ? [] : values.split("|"))));
}

/** The same, with the packets' borders taken away: every value of each field, in order. */
export function tsharkValues(...args: Parameters<typeof tsharkFields>): string[][] {
  const rows = tsharkFields(...args);
  return args[2].map((_, column) => rows.flatMap((row) => row[column] ?? []));
}
