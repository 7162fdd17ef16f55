import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { orderBeside } from "../support/hostile-order.ts";
import type { Script, ScriptedConnection } from "../support/scripted-source.ts";
import { entries, errorFrame, frame, FRAME, listed, type WireEntry } from "../support/wire-bytes.ts";

setDefaultTimeout(120_000);

const HONEST = { honest: Buffer.from("an honest file"), "sub/honest": Buffer.from("another one") };
const HONEST_NAMES = ["honest", "sub/", "sub/honest"];

/** Lists the honest files and others besides, and gives any file that is asked for. */
function listing(...items: WireEntry[]): Script {
  return {
    files: HONEST,
    list: (connection, asked) => {
      const honest = Object.entries(HONEST).map(([path, bytes]) => ({ path, size: bytes.length }));
      connection.sendList(asked, [...honest.slice(0, 1), ...items, ...honest.slice(1)]);
    },
    fetch: (connection, asked) =>
      connection.sendFile(asked, HONEST[asked.path as keyof typeof HONEST] ?? Buffer.from("hostile")),
  };
}

describe("a listed name that is none", () => {
  const names: [what: string, path: string][] = [
    ["leads upwards", "../x"],
    ["leads far upwards", "../../../../../../../../tmp/dray-was-here"],
    ["leads upwards in between", "sub/../../x"],
    ["goes up and down again", "sub/../x"],
    ["is the parent", ".."],
    ["is the root", "."],
    ["is empty", ""],
    ["is absolute", "/tmp/dray-was-here"],
    ["holds a NUL", "x\0y"],
    ["holds an empty component", "a//b"],
    ["begins with a dot component", "./a"],
    ["holds a dot component", "a/./b"],
    ["ends in a slash", "a/"],
    ["has a component of 300 bytes", "n".repeat(300)],
    ["has 256 bytes in 128 characters", "ü".repeat(128)],
    ["is longer than 4096 bytes", Array<string>(100).fill("d".repeat(50)).join("/")],
  ];
  test.each(names)("%s", async (_, path) => {
    const script = listing({ path, size: 7 }, { kind: "directory", path });
    await orderBeside(script, ({ given, status, failures, names }, source) => {
      expect(given.code).toBe(3);
      expect(status).toBe("partial");
      expect(failures).toMatchObject([
        { path, code: "name" },
        { path, code: "name" },
      ]);
      expect(names).toEqual(HONEST_NAMES);
      expect(source.fetches.map((fetch) => fetch.path).sort()).toEqual(Object.keys(HONEST));
    });
  });

  test("is one of our unfinished files", async () => {
    const path = "sub/.dray-abc-1.tmp";
    await orderBeside(listing({ path, size: 7 }), ({ given, failures, names }) => {
      expect(given.code).toBe(3);
      expect(failures).toMatchObject([{ path, code: "name" }]);
      expect(names).toEqual(HONEST_NAMES);
    });
  });

  test.each(["other/x", "docs2/x", "doc", "docs/../x"])("was not asked for: %s", async (path) => {
    const script: Script = {
      list: (connection, asked) => connection.sendList(asked, [{ path }, { path: "docs/honest", size: 7 }]),
      fetch: (connection, asked) => connection.sendFile(asked, Buffer.from("content")),
    };
    const check = ({
      status,
      failures,
      names,
    }: {
      status: string;
      failures: unknown[];
      names: string[];
    }): void => {
      expect(status).toBe("partial");
      expect(failures).toMatchObject([{ path, code: "name" }]);
      expect(names).toEqual(["docs/", "docs/honest"]);
    };
    await orderBeside(script, check, { path: "docs" });
  });
});

describe("names that contradict each other", () => {
  test("a file where a directory is needed", async () => {
    const items = [
      { path: "a", size: 7 },
      { path: "a/b", size: 7 },
      { path: "a/c/d", size: 7 },
    ];
    await orderBeside(listing(...items), async ({ given, failures, names, read }) => {
      expect(given.code).toBe(3);
      expect(failures.map(({ code }) => code)).toEqual(failures.map(() => "refused"));
      // Whichever came first is there, whole.
      const others = names.filter((name) => !HONEST_NAMES.includes(name) && !name.endsWith("/"));
      expect(others.length + failures.length).toBe(3);
      for (const name of others) expect((await read(name)).toString()).toBe("hostile");
    });
  });

  test("a directory where a file is", async () => {
    await orderBeside(
      listing({ kind: "directory", path: "a" }, { path: "a", size: 7 }, { kind: "directory", path: "a" }),
      ({ given, failures, names }) => {
        expect(given.code).toBe(3);
        expect(failures.length).toBeGreaterThan(0);
        expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(["refused"]));
        expect(names.filter((name) => name.startsWith("a"))).toHaveLength(1);
      },
    );
  });

  test("the same file many times", async () => {
    await orderBeside(
      listing(...Array<WireEntry>(200).fill({ path: "same", size: 7 })),
      async ({ names, read }) => {
        expect(names).toEqual([...HONEST_NAMES, "same"].sort());
        expect((await read("same")).toString()).toBe("hostile");
      },
    );
  });
});

describe("sizes that are lies", () => {
  test.each([0, 1, 2 ** 52])(
    "%d bytes listed, seven sent: the file as it came, and true statistics",
    async (size) => {
      await orderBeside(listing({ path: "liar", size }), async ({ given, status, source, read }) => {
        expect({ code: given.code, status }).toEqual({ code: 0, status: "complete" });
        expect((await read("liar")).toString()).toBe("hostile");
        expect(source).toMatchObject({ files: 3, bytes: 7 + 14 + 11 });
      });
    },
  );
});

describe("a list that is not complete is never taken for a short one", () => {
  const items: WireEntry[] = [
    { path: "honest", size: 14 },
    { kind: "directory", path: "sub" },
  ];
  const endings: [what: string, end: (connection: ScriptedConnection, id: number) => void][] = [
    ["an orderly end of the connection", (connection) => connection.end()],
    ["a reset", (connection) => connection.reset()],
    ["an error", (connection, id) => connection.send(errorFrame(id, 9, "no more"))],
    ["an error of the connection", (connection) => connection.send(errorFrame(0, 9, "go away"))],
    ["a count that is too high", (connection, id) => connection.send(listed(id, 2, 1, 0))],
    ["a count that is too low", (connection, id) => connection.send(listed(id, 0, 1, 0))],
    ["a count of the wrong kind", (connection, id) => connection.send(listed(id, 0, 2, 0))],
    ["a count for another request", (connection, id) => connection.send(listed(id + 7, 1, 1, 0))],
    ["an entry of an unknown kind", (connection, id) => connection.send(entryOfKind(id, 9))],
    ["half an entry", (connection, id) => connection.send(halfAnEntry(id))],
    [
      "a name that is not UTF-8",
      (connection, id) => connection.send(entries(id, [{ path: Buffer.of(0xff) }])),
    ],
    ["a negative size", (connection, id) => connection.send(entries(id, [{ path: "x", size: -1 }]))],
    ["a frame with a wrong check", (connection, id) => connection.send(damaged(listed(id, 1, 1, 0)))],
    [
      "a message that has no place there",
      (connection, id) => connection.send(frame(FRAME.end, id, new Uint8Array(16))),
    ],
    ["garbage", (connection) => connection.send(Buffer.alloc(100, "garbage "))],
  ];
  test.each(endings)("%s", async (_, end) => {
    const script: Script = {
      files: HONEST,
      list: (connection, { id }) => {
        connection.send(entries(id, items));
        end(connection, id);
      },
    };
    await orderBeside(script, async ({ given, status, source, names, read }) => {
      expect(given.code).toBe(3);
      expect(status).not.toBe("complete");
      expect(source.error).toBeString();
      for (const name of names) expect(["honest", "sub/"]).toContain(name);
      if (names.includes("honest")) expect(await read("honest")).toEqual(HONEST.honest);
    });
  });
});

function entryOfKind(id: number, kind: number): Buffer {
  const payload = Buffer.alloc(22);
  payload[0] = kind;
  payload[19] = 1;
  payload[21] = 0x78;
  return frame(FRAME.entries, id, payload);
}

function halfAnEntry(id: number): Buffer {
  return frame(FRAME.entries, id, Buffer.alloc(10));
}

function damaged(bytes: Buffer): Buffer {
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}
