import { expect, test } from "bun:test";
import { NO_MD5 } from "../../src/wire/sync-messages.ts";
import { HubStage, type Heard, type Peer, bytes, md5 } from "../support/sync-hub-stage.ts";

const OK = 0x0001;
const BAD_CHECKSUM = 0x0002;
const BAD_SIZE = 0x0004;
const NO_FILE = 0x0020;
const LOCKED = 0x0040;
const IN_USE = 0x0080;
const KEEP_ALIVE = 0x8000;

const hex = (text: string): string => Buffer.from(md5(bytes(text))).toString("hex");

test("a client hears first what there is, with the id of the server and the number of each version", () => {
  const stage = new HubStage();
  const [line] = stage.client().metaData();
  expect(line).toMatch(/^\.dray\t.*\tserver=[0-9a-f]{32}$/);
  const { own } = stage.client();
  own.upload("docs/a.txt", "content");
  own.upload("tab\there", "");
  const lines = stage.client().metaData();
  expect(lines).toHaveLength(2);
  const [name, mtime, size, digest, sequence] = lines[0]!.split("\t");
  expect([name, size, digest, sequence]).toEqual(["docs/a.txt", "7", hex("content"), "sequence=1"]);
  expect(Number(mtime)).toBeGreaterThan(1_700_000_000);
  expect(lines[1]).toStartWith("tab%09here\t");
});

test("a long list comes in chunks, and what changes meanwhile is heard of afterwards", () => {
  const stage = new HubStage();
  const { own } = stage.client();
  for (let index = 0; index < 40; index++) own.upload(`file ${index}`, `${index}`);
  const reader = stage.client();
  own.upload("file 3", "changed");
  expect(reader.metaData()).toHaveLength(40);
  expect(reader.hears(1)).toMatchObject([{ name: "file 3", content: "changed" }]);
});

test("a deleted file goes to the versions, and everybody else is told", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  author.own.upload("docs/a.txt", "content");
  reader.hears(1);
  author.own.named("delete", "docs/a.txt");
  expect(author.own.codesOf(3).at(-1)).toBe(OK);
  expect(reader.hears(2)[1]).toEqual({ type: "delete", name: "docs/a.txt" });
  expect(stage.content("docs/a.txt")).toBeUndefined();
  expect(stage.machine.user().list([".dray", "versions", "docs", "a.txt"])).toHaveLength(1);
  author.own.named("delete", "docs/a.txt");
  author.own.named("delete", "never");
  expect(author.own.codesOf(5).slice(3)).toEqual([NO_FILE, NO_FILE]);
  stage.world.clock.pass(5_000);
  expect(author.news).toEqual([]);
  expect(reader.news).toHaveLength(2);
});

test("an empty file, and one of many chunks, arrive as they are", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  const long = "0123456789".repeat(1_000);
  author.own.upload("empty", "");
  author.own.upload("long", long, 4_000);
  expect(reader.hears(2)).toEqual([
    { type: "file", name: "empty", content: "", md5: hex("") },
    { type: "file", name: "long", content: long, md5: hex(long) },
  ]);
});

test("a client that refuses the empty chunk of an empty file gets a bare Close", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.answer = ({ type }) => (type === "chunk" ? BAD_SIZE : OK);
  author.own.upload("empty", "");
  expect(reader.hears(1)).toMatchObject([{ type: "file", name: "empty", content: "" }]);
  stage.world.clock.pass(5_000);
  expect(reader.news).toHaveLength(1);
});

test("a chunk that arrives damaged is sent again; after three times all begins anew later", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  let refusals = 2;
  reader.updates.answer = ({ type }) => (type === "chunk" && refusals-- > 0 ? BAD_CHECKSUM : OK);
  author.own.upload("a", "content");
  expect(reader.hears(1)).toMatchObject([{ content: "content" }]);
  refusals = 3;
  author.own.upload("a", "changed");
  expect(reader.hears(3).slice(1)).toMatchObject([
    { type: "abort", name: "a" },
    { type: "file", content: "changed" },
  ]);
});

test("a client that has the file in use does not get this version, but the next", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.answer = () => IN_USE;
  author.own.upload("a", "first");
  stage.world.clock.pass(10_000);
  expect(reader.news).toEqual([]);
  reader.updates.answer = () => OK;
  author.own.upload("a", "second");
  expect(reader.hears(1)).toMatchObject([{ type: "file", content: "second" }]);
});

test("a request brings the file, also to a client that is known to have it; of a deleted one, its delete", () => {
  const stage = new HubStage();
  const peer = stage.client();
  peer.metaData();
  peer.own.upload("a", "content");
  peer.own.upload("b", "content");
  peer.own.named("delete", "b");
  peer.own.codesOf(5);
  peer.own.named("request", "a");
  peer.own.named("request", "b");
  peer.own.named("request", "never");
  expect(peer.hears(2)).toMatchObject([
    { type: "file", name: "a", content: "content" },
    { type: "delete", name: "b" },
  ]);
  stage.world.clock.pass(5_000);
  expect(peer.news).toHaveLength(2);
  // The seed's clients expect no answer to a request that is fulfilled.
  expect(peer.own.codes).toHaveLength(5);
});

test("a request for a file that is being written is answered with File In Use, and kept for later", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  author.own.upload("a", "first");
  reader.hears(1);
  author.own.chunk("a", bytes("half"));
  author.own.codesOf(3);
  reader.own.named("request", "a");
  expect(reader.own.codesOf(1)).toEqual([IN_USE]);
  // The upload comes to nothing, so the old version it is.
  author.own.named("abort", "a");
  expect(reader.hears(2)[1]).toMatchObject({ type: "file", name: "a", content: "first" });
});

test("the same file changing faster than it can be sent is sent in its last state, once for each time it was sent", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.answer = () => undefined;
  for (let index = 0; index < 10; index++) author.own.upload("a", `version ${index}`);
  expect(stage.hub.clients.count).toBe(2);
  for (const feed of stage.hub.clients.feeds) expect(feed.queue.size).toBeLessThanOrEqual(1);
  reader.updates.answer = () => OK;
  reader.updates.status(OK);
  const isLast = (heard: Heard): boolean => heard.type === "file" && heard.content === "version 9";
  stage.until(() => reader.news.some(isLast), "the last version");
  expect(reader.news.length).toBeLessThanOrEqual(3);
});

test("who writes a file while an older version of it is on its way gets its own back: nobody is left behind", () => {
  const stage = new HubStage();
  const [one, other] = [stage.client(), stage.client()];
  one.metaData();
  one.updates.answer = ({ name }) => (name === "a" ? undefined : OK);
  other.own.upload("a", "theirs");
  stage.until(() => [...stage.hub.clients.feeds].some((feed) => feed.isDelivering("a")), "the delivery");
  expect(one.own.upload("a", "mine")).toEqual([OK, OK]);
  one.updates.answer = () => OK;
  one.updates.status(OK);
  const last = (): Heard | undefined => one.news.at(-1);
  stage.until(
    () => last()?.type === "file" && (last() as { content: string }).content === "mine",
    "its own version",
  );
});

test("who got an older version while it was sending its own gets its own back", () => {
  const stage = new HubStage();
  const [one, other] = [stage.client(), stage.client()];
  one.metaData();
  one.updates.answer = ({ name }) => (name === "a" ? undefined : OK);
  other.own.upload("a", "theirs");
  stage.until(() => [...stage.hub.clients.feeds].some((feed) => feed.isDelivering("a")), "the delivery");
  one.own.chunk("a", bytes("mine"));
  expect(one.own.codesOf(1)).toEqual([OK]);
  // Only now it has taken what the other one sent, over what it is sending.
  one.updates.answer = () => OK;
  one.updates.status(OK);
  expect(one.hears(1)).toMatchObject([{ content: "theirs" }]);
  stage.until(() => stage.events.some(({ type }) => type === "delivered"), "the end of the delivery");
  one.own.named("close", "a", md5(bytes("mine")));
  expect(one.own.codesOf(2)).toEqual([OK, OK]);
  expect(one.hears(2)[1]).toMatchObject({ type: "file", content: "mine" });
});

test("the second connection answers as well as the first", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.answer = () => {
    reader.own.status(OK);
    return undefined;
  };
  author.own.upload("a", "1");
  author.own.upload("b", "2");
  expect(reader.hears(2)).toHaveLength(2);
});

test("a client that answers nothing at all gets everything all the same", () => {
  const stage = new HubStage();
  const author = stage.client();
  const dial = stage.dial("10.0.7.7", "send");
  dial.answer = () => undefined;
  author.own.upload("a", "content");
  stage.world.clock.pass(40_000);
  author.own.upload("b", "content");
  stage.until(() => dial.heard.length === 3, "two files behind META-DATA");
  expect(dial.end).toBeUndefined();
});

test("a client that answered once, and then no more, is dropped", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.answer = () => undefined;
  author.own.upload("a", "content");
  stage.world.clock.pass(29_000);
  expect(reader.updates.end).toBeUndefined();
  stage.world.clock.pass(2_000);
  expect(reader.updates.end).toBeDefined();
});

test("a client that takes nothing is dropped, and memory stays bounded until then", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.updates.link.pause();
  for (let index = 0; index < 50; index++) author.own.upload(`f${index}`, "x".repeat(10_000), 10_000);
  expect(reader.updates.link.isOpen).toBe(true);
  stage.world.clock.pass(31_000);
  reader.updates.link.resume();
  stage.world.clock.pass(1_000);
  expect(reader.updates.end).toBeDefined();
});

test("idle clients hear that the server is there, on the one connection only, and nothing answers it", () => {
  const stage = new HubStage();
  const peer = stage.client();
  peer.metaData();
  stage.world.clock.pass(100_000);
  expect(peer.updates.codes).toEqual([KEEP_ALIVE, KEEP_ALIVE, KEEP_ALIVE]);
  expect(peer.own.codes).toEqual([]);
});

test("a client of the seed that was away does not bring back what was deleted meanwhile", () => {
  const stage = new HubStage();
  const [author, witness] = [stage.client(), stage.client()];
  author.own.upload("a", "old");
  witness.hears(1);
  author.own.named("delete", "a");
  witness.hears(2);
  const late = stage.client();
  late.metaData();
  expect(late.own.upload("a", "old")).toEqual([OK, OK]);
  expect(late.hears(1)).toEqual([{ type: "delete", name: "a" }]);
  expect(stage.content("a")).toBeUndefined();
  stage.world.clock.pass(5_000);
  expect(witness.news).toHaveLength(2);
  // Told of it, it means what it says; and other content is new in any case.
  expect(late.own.upload("a", "old")).toEqual([OK, OK]);
  stage.until(() => stage.content("a") === "old", "the file");
  const later = stage.client();
  later.metaData();
  author.own.named("delete", "a");
  later.hears(1);
  expect(later.own.upload("a", "different")).toEqual([OK, OK]);
  stage.until(() => stage.content("a") === "different", "the other file");
});

test("a client of ours gets one answer to everything, and several files at once", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  reader.pair("a".repeat(32));
  reader.own.named("request", "never");
  reader.own.named("delete", "never");
  expect(reader.own.codesOf(3)).toEqual([OK, NO_FILE, NO_FILE]);
  // It answers nothing for now.
  reader.updates.answer = () => undefined;
  for (const name of ["a", "b", "c", "d"]) author.own.upload(name, `content of ${name}`);
  expect(reader.hears(4).map(({ name }) => name)).toEqual(["a", "b", "c", "d"]);
  for (let answers = 0; answers < 8; answers++) reader.updates.status(OK);
  stage.until(() => stage.events.filter(({ type }) => type === "delivered").length === 4, "the deliveries");
  reader.own.named("request", "a", md5(bytes("content of a")));
  expect(reader.own.codesOf(4)[3]).toBe(OK);
});

test("a client of ours gets large files without digests of their chunks; one that came to harm comes again with them", () => {
  const stage = new HubStage(1, { maxChunkBytes: 2 ** 30, chunkBytes: 1_000_000 });
  const [author, reader, stranger] = [stage.client(), stage.client(), stage.client()];
  for (const peer of [reader, stranger]) peer.metaData();
  reader.pair("a".repeat(32));
  const content = "0123456789".repeat(250_000);
  const digests = (peer: Peer): (Uint8Array | undefined)[] =>
    peer.updates.chunkMd5s.filter(({ name }) => name === "a").map((chunk) => chunk.md5);
  const right = [0, 1, 2].map((index) =>
    md5(bytes(content).subarray(index * 1_000_000, (index + 1) * 1_000_000)),
  );
  let refusals = 1;
  reader.updates.answer = ({ type }) => (type === "close" && refusals-- > 0 ? BAD_CHECKSUM : OK);
  author.own.upload("a", content, 1_000_000);
  expect(stranger.hears(1)).toMatchObject([{ name: "a", content }]);
  expect(digests(stranger)).toEqual(right);
  expect(reader.hears(2)).toMatchObject([{ name: "a" }, { name: "a", content }]);
  expect(digests(reader)).toEqual([NO_MD5, NO_MD5, NO_MD5, ...right]);
});

test("what is not told to everybody yet counts for nobody as heard", () => {
  const stage = new HubStage();
  const { own } = stage.client();
  own.upload("a", "first");
  expect(stage.hub.announcedSequence()).toBe(1);
  own.chunk("b", bytes("second"));
  own.named("close", "b");
  // It has its number, and is being written down.
  stage.until(() => stage.hub.roster.sequence === 2, "the number");
  expect(own.codes).toHaveLength(3);
  expect(stage.hub.announcedSequence()).toBeUndefined();
  own.codesOf(4);
  expect(stage.hub.announcedSequence()).toBe(2);
});

test("of thousands of files that come one behind the other none is left out", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  for (const peer of [author, reader]) peer.metaData();
  author.pair("c".repeat(32));
  reader.pair("d".repeat(32));
  const count = 2_000;
  for (let index = 0; index < count; index++) {
    author.own.chunk(`f${index}`, bytes(`${index}`));
    author.own.named("close", `f${index}`, md5(bytes(`${index}`)));
    author.own.codesOf(1 + 2 * index);
  }
  author.own.codesOf(1 + 2 * count);
  stage.world.clock.pass(10_000);
  expect(new Set(reader.news.map(({ name }) => name)).size).toBe(count);
  expect(author.news).toEqual([]);
});

test("a client of ours that deletes what it has not seen is shown it instead", () => {
  const stage = new HubStage();
  const [author, other] = [stage.client(), stage.client()];
  other.metaData();
  other.pair("b".repeat(32));
  author.own.upload("a", "first");
  other.hears(1);
  other.updates.answer = () => undefined;
  author.own.upload("a", "second");
  other.own.named("delete", "a", md5(bytes("first")));
  expect(other.own.codesOf(2)).toEqual([OK, LOCKED]);
  expect(stage.content("a")).toBe("second");
  other.own.named("delete", "a", md5(bytes("second")));
  expect(other.own.codesOf(3)[2]).toBe(OK);
});

test("two clients of one address whose connections could be anybody's both hear of everything", () => {
  const stage = new HubStage();
  const address = "10.0.9.9";
  const [r1, r2] = [stage.dial(address, "receive"), stage.dial(address, "receive")];
  const [s1, s2] = [stage.dial(address, "send"), stage.dial(address, "send")];
  r1.upload("a", "content");
  r2.named("request", "a");
  for (const wire of [s1, s2])
    stage.until(() => wire.heard.some((heard) => heard.name === "a"), "the file, on each");
});

test("connections beyond the limits are turned away", () => {
  const stage = new HubStage(1, { maxConnections: 4, maxPerAddress: 2 });
  stage.client("10.0.3.1");
  expect(() => stage.until(() => stage.dial("10.0.3.1", "send").end !== undefined, "its end")).not.toThrow();
  const other = stage.client("10.0.3.2");
  other.metaData();
  const third = stage.dial("10.0.3.3", "send");
  stage.until(() => third.end !== undefined, "its end");
  other.leave();
  stage.world.clock.pass(1_000);
  stage.client("10.0.3.3").metaData();
});

test("killed and started again, a server knows its files, its deletes, its id and its numbers", () => {
  const stage = new HubStage();
  const { own } = stage.client();
  own.upload("a", "1");
  own.upload("b", "2");
  own.named("delete", "b");
  own.codesOf(5);
  own.chunk("c", bytes("half"));
  own.codesOf(6);
  const { id } = stage.hub;
  stage.machine.losePower();
  stage.start();
  expect(stage.hub.id).toBe(id);
  expect(stage.staged()).toEqual([]);
  expect(stage.hub.roster.get("a")).toMatchObject({ kind: "file", sequence: 1, md5: hex("1") });
  expect(stage.hub.roster.get("b")).toMatchObject({ kind: "deleted", md5: hex("2") });
  expect(stage.hub.roster.sequence).toBe(3);
  const peer = stage.client();
  expect(peer.metaData()).toHaveLength(1);
  peer.own.upload("c", "3");
  expect(stage.hub.roster.get("c")?.sequence).toBe(4);
});

test("what was changed in the folder while the server was down gets a new version; what is gone is deleted", () => {
  const stage = new HubStage();
  const { own } = stage.client();
  // The last one has a name that clients leave out of their folders by default.
  for (const name of ["a", "b", "c", "d~"]) own.upload(name, `content of ${name}`);
  stage.machine.kill();
  const tree = stage.machine.user();
  const file = tree.create(["new"]);
  file.write(bytes("put there by hand"), 0);
  file.close();
  tree.rename(["a"], ["moved"]);
  stage.start();
  const lines = stage.client().metaData();
  expect(lines.map((line) => line.split("\t")[0]!).toSorted()).toEqual(["b", "c", "d~", "moved", "new"]);
  expect(stage.hub.roster.get("a")?.kind).toBe("deleted");
  expect(stage.hub.roster.get("b")?.sequence).toBe(2);
});

test("a folder that was emptied is not taken for a wish to delete everything, unless somebody says so", () => {
  const stage = new HubStage();
  const { own } = stage.client();
  for (const name of ["a", "b", "c", "d"]) own.upload(name, "content");
  stage.machine.kill();
  for (const name of ["a", "b", "c", "d"]) stage.machine.user().unlink([name]);
  expect(() => stage.start()).toThrow("all 4 files are missing");
  stage.start({ acceptsMissing: true });
  expect(stage.hub.roster.fileCount).toBe(0);
});

test("a file that somebody changes in the folder is sent as it is now, not as a mixture", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  reader.metaData();
  author.own.upload("a", "from a client");
  reader.hears(1);
  const file = stage.machine.user().openToWrite(["a"]);
  file.write(bytes("FROM THE FOLDER!!"), 0);
  file.close();
  stage.world.clock.pass(100);
  reader.own.named("request", "a");
  expect(reader.hears(2)[1]).toMatchObject({
    type: "file",
    content: "FROM THE FOLDER!!",
    md5: hex("FROM THE FOLDER!!"),
  });
  stage.until(() => author.news.length === 1, "the author hears of it too");
});

test("told to stop, a server lets uploads and updates under way come to their end, and takes nothing new", () => {
  const stage = new HubStage();
  const [author, reader] = [stage.client(), stage.client()];
  author.metaData();
  reader.metaData();
  author.own.upload("before", "1");
  author.own.chunk("a", bytes("half "));
  author.own.codesOf(3);
  const stopped = stage.hub.stop();
  author.own.chunk("new", bytes("x"));
  author.own.chunk("a", bytes("whole"));
  author.own.named("close", "a");
  expect(author.own.codesOf(6).slice(3)).toEqual([LOCKED, OK, OK]);
  stage.until(() => author.own.hasPeerEnded && author.updates.hasPeerEnded, "the end");
  for (const wire of [author.own, author.updates, reader.own, reader.updates]) wire.link.end();
  stage.world.clock.settled(stopped);
  expect(stage.content("a")).toBe("half whole");
  expect(stage.content("new")).toBeUndefined();
});
