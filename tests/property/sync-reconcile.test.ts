import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Base,
  type Local,
  reconcile,
  type ReconcileSettings,
  type Remote,
  type Verdict,
} from "../../src/sync/client/reconcile.ts";
import { runs } from "./runs.ts";

const NOW_US = 1_800_000_000_000_000;
const SETTINGS: ReconcileSettings = { nowUs: NOW_US, canAsk: false, resurrects: false };
const DIGESTS = ["a", "b", "c"].map((digit) => digit.repeat(32));
const [A, B, C] = DIGESTS as [string, string, string];
/** Contents of the same size, so that nothing but the digest tells them apart. */
const SIZE = 5;

function base(md5: string, sequence?: number): Base {
  return { md5, sizeBytes: SIZE, mtimeNs: 1_700_000_000_000_000_000n, ctimeNs: 5n, inode: 7n, sequence };
}

/** The file that the base was written for. */
function untouched(of: Base): Local {
  const { sizeBytes, mtimeNs, ctimeNs, inode } = of;
  return { kind: "file", md5: undefined, sizeBytes, mtimeNs, ctimeNs, inode };
}

function local(md5: string | undefined, mtimeNs = 1_700_000_500_000_000_000n, sizeBytes = SIZE): Local {
  return { kind: "file", md5, sizeBytes, mtimeNs, ctimeNs: 6n, inode: 8n };
}

function file(md5: string | undefined, more: Partial<Remote & { kind: "file" }> = {}): Remote {
  return { kind: "file", md5, sizeBytes: SIZE, mtimeUs: undefined, sequence: undefined, ...more };
}

const ABSENT: Local = { kind: "absent" };

describe("with a base", () => {
  const b = base(A);
  const table: [what: string, local: Local, remote: Remote, action: Verdict["action"]][] = [
    ["nothing happened", untouched(b), file(A), "in-sync"],
    ["nobody says what the server has", untouched(b), { kind: "unknown" }, "in-sync"],
    ["touched, same bytes", local(A), file(A), "adopt"],
    ["touched, not read yet", local(undefined), file(A), "hash"],
    ["another size needs no reading", local(undefined, 9n, SIZE + 1), file(A), "upload"],
    ["edited here", local(B), file(A), "upload"],
    ["edited here, server unknown", local(B), { kind: "unknown" }, "upload"],
    ["edited there", untouched(b), file(B), "request"],
    ["edited there, touched here", local(A), file(B), "request"],
    ["edited on both sides alike", local(B), file(B), "adopt"],
    ["edited on both sides differently", local(B), file(C), "conflict"],
    ["edited there, not read here", local(undefined), file(B), "hash"],
    ["deleted there", untouched(b), { kind: "deleted", md5: A }, "delete-local"],
    ["deleted there, edited here", local(B), { kind: "deleted", md5: A }, "upload"],
    ["deleted there, not read here", local(undefined), { kind: "deleted", md5: A }, "hash"],
    ["missing there", untouched(b), { kind: "unlisted" }, "delete-local"],
    ["missing there, edited here", local(B), { kind: "unlisted" }, "upload"],
    ["never known there", untouched(b), { kind: "never" }, "upload"],
    ["deleted here", ABSENT, file(A), "delete-remote"],
    ["deleted here, server unknown", ABSENT, { kind: "unknown" }, "delete-remote"],
    ["deleted here, edited there", ABSENT, file(B), "request"],
    ["gone on both sides", ABSENT, { kind: "deleted", md5: A }, "forget"],
    ["gone here, missing there", ABSENT, { kind: "unlisted" }, "forget"],
    ["gone here, never known there", ABSENT, { kind: "never" }, "forget"],
    ["a link stands there now", { kind: "other", what: "a symbolic link" }, file(A), "ignore"],
  ];
  test.each(table)("%s", (_, local, remote, action) => {
    expect(reconcile(b, local, remote, SETTINGS).action).toBe(action);
  });

  test("our own server is asked what became of a name that it does not list", () => {
    const asked = reconcile(b, untouched(b), { kind: "unlisted" }, { ...SETTINGS, canAsk: true });
    expect(asked.action).toBe("ask");
  });

  test("a server that was restored from a backup gets back what it once confirmed", () => {
    const newer = base(B, 10);
    expect(reconcile(newer, untouched(newer), file(A, { sequence: 5 }), SETTINGS).action).toBe("upload");
    expect(reconcile(newer, untouched(newer), file(A, { sequence: 11 }), SETTINGS).action).toBe("request");
  });

  test("a delete that was told needs no guard, one that was not does", () => {
    expect(reconcile(b, untouched(b), { kind: "deleted", md5: A }, SETTINGS)).toMatchObject({
      isToldSo: true,
    });
    expect(reconcile(b, untouched(b), { kind: "unlisted" }, SETTINGS)).toMatchObject({ isToldSo: false });
  });

  test("the literal rules give back what one side lacks", () => {
    const literal = { ...SETTINGS, resurrects: true };
    expect(reconcile(b, ABSENT, file(A), literal).action).toBe("request");
    expect(reconcile(b, untouched(b), { kind: "unlisted" }, literal).action).toBe("upload");
    expect(reconcile(b, untouched(b), file(A), literal).action).toBe("in-sync");
  });
});

describe("without a base", () => {
  const second = 1_000_000_000n;
  const nowNs = BigInt(NOW_US) * 1000n;
  const old = nowNs - 1000n * second;
  const table: [what: string, local: Local, remote: Remote, action: Verdict["action"]][] = [
    ["new here", local(A), { kind: "unlisted" }, "upload"],
    ["new here, server unknown", local(A), { kind: "unknown" }, "upload"],
    ["new here, once deleted there", local(A), { kind: "deleted", md5: A }, "upload"],
    ["new there", ABSENT, file(A), "request"],
    ["nowhere", ABSENT, { kind: "unlisted" }, "forget"],
    ["the same on both sides", local(A), file(A), "adopt"],
    ["not read yet", local(undefined), file(A), "hash"],
    ["newer here", local(A, old + 3n * second), file(B, { mtimeUs: Number(old / 1000n) }), "upload"],
    ["newer there", local(A, old), file(B, { mtimeUs: Number(old / 1000n) + 3_000_000 }), "request"],
    ["of the same time", local(A, old), file(B, { mtimeUs: Number(old / 1000n) + 2_000_000 }), "conflict"],
    ["of no time there", local(A, old), file(B), "conflict"],
    ["from the future", local(A, nowNs + 90_000n * second), file(B, { mtimeUs: NOW_US }), "conflict"],
    ["from before computers", local(A, 5n), file(B, { mtimeUs: NOW_US }), "conflict"],
    [
      "a server that says no digest",
      local(A, old),
      file(undefined, { mtimeUs: NOW_US, sizeBytes: 9 }),
      "request",
    ],
  ];
  test.each(table)("%s", (_, local, remote, action) => {
    expect(reconcile(undefined, local, remote, SETTINGS).action).toBe(action);
  });
});

const digest = fc.constantFrom(...DIGESTS);
const anyBase = fc.option(
  fc.tuple(digest, fc.option(fc.nat(3), { nil: undefined })).map(([md5, sequence]) => base(md5, sequence)),
  { nil: undefined },
);
const anyTime = fc.integer({ min: 0, max: 2 * NOW_US });
const anyLocal: fc.Arbitrary<Local> = fc.oneof(
  fc.constant(ABSENT),
  fc.tuple(digest, anyTime).map(([md5, us]) => local(md5, BigInt(us) * 1000n)),
);
const anyRemote: fc.Arbitrary<Remote> = fc.oneof(
  fc.constant<Remote>({ kind: "unknown" }),
  fc.constant<Remote>({ kind: "unlisted" }),
  fc.constant<Remote>({ kind: "never" }),
  fc.option(digest, { nil: undefined }).map((md5): Remote => ({ kind: "deleted", md5 })),
  fc
    .tuple(digest, fc.option(anyTime, { nil: undefined }), fc.option(fc.nat(3), { nil: undefined }))
    .map(([md5, mtimeUs, sequence]) => file(md5, { mtimeUs, sequence })),
);
const anySettings = fc
  .tuple(fc.boolean(), fc.boolean())
  .map(([canAsk, resurrects]): ReconcileSettings => ({ ...SETTINGS, canAsk, resurrects }));

describe("whatever was there", () => {
  test("content that only this machine has is uploaded, copied or kept, never just dropped", () => {
    fc.assert(
      fc.property(anyBase, anyLocal, anyRemote, anySettings, (base, local, remote, settings) => {
        const { action } = reconcile(base, local, remote, settings);
        if (local.kind !== "file") return;
        const isAgreed = base !== undefined && base.md5 === local.md5;
        const isThere = remote.kind === "file" && remote.md5 === local.md5;
        if (isAgreed || isThere) return;
        // "request" without a base puts the older one into the versions; with a base it would be an edit.
        const allowed =
          base === undefined ? ["upload", "conflict", "request"] : ["upload", "conflict", "ask"];
        expect(allowed).toContain(action);
      }),
      runs(1000),
    );
  });

  test("equal contents are never transferred", () => {
    fc.assert(
      fc.property(anyBase, anyLocal, anyRemote, anySettings, (base, local, remote, settings) => {
        if (local.kind !== "file" || remote.kind !== "file" || local.md5 !== remote.md5) return;
        const { action } = reconcile(base, local, remote, settings);
        // A server that lost a version and has an older one of the same content needs nothing either.
        expect(["in-sync", "adopt"]).toContain(action);
      }),
      runs(1000),
    );
  });

  test("where there is a base, times decide nothing", () => {
    fc.assert(
      fc.property(
        anyBase,
        fc.tuple(digest, digest),
        fc.tuple(anyTime, anyTime, anyTime),
        anySettings,
        (base, [mine, theirs], [t1, t2, t3], settings) => {
          if (base === undefined) return;
          const at = (us: number): Local => local(mine, BigInt(us) * 1000n);
          const first = reconcile(base, at(t1), file(theirs, { mtimeUs: t3 }), settings);
          const second = reconcile(base, at(t2), file(theirs, { mtimeUs: t1 }), settings);
          expect(first.action).toBe(second.action);
        },
      ),
      runs(500),
    );
  });

  test("a delete beats no edit that whoever deleted has not seen", () => {
    fc.assert(
      fc.property(anyBase, anyLocal, anyRemote, anySettings, (base, local, remote, settings) => {
        const { action } = reconcile(base, local, remote, settings);
        if (action === "delete-local") expect(local).toMatchObject({ kind: "file", md5: base?.md5 });
        if (action === "delete-remote" && remote.kind === "file") expect(remote.md5).toBe(base?.md5);
        if (action === "delete-local" || action === "delete-remote") expect(base).toBeDefined();
      }),
      runs(1000),
    );
  });

  test("reading the file decides what not reading it could not, and changes nothing else", () => {
    fc.assert(
      fc.property(anyBase, digest, anyTime, anyRemote, anySettings, (base, mine, us, remote, settings) => {
        const mtimeNs = BigInt(us) * 1000n;
        const unread = reconcile(base, local(undefined, mtimeNs), remote, settings);
        const read = reconcile(base, local(mine, mtimeNs), remote, settings);
        expect(read.action).not.toBe("hash");
        if (unread.action !== "hash") expect(read).toEqual(unread);
      }),
      runs(1000),
    );
  });

  test("two clients and a server that do as it says come to rest with the same content", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 12 }), (steps) => {
        const world = new TinyWorld();
        for (const step of steps) world.do(step);
        world.rest();
        expect(world.contents()).toEqual([world.server, world.server, world.server]);
        for (const content of world.saved) expect(world.isKept(content)).toBe(true);
      }),
      runs(500),
    );
  });
});

type Step = { who: 0 | 1; what: "write" | "delete" | "sync"; md5: string };
const anyStep: fc.Arbitrary<Step> = fc.record({
  who: fc.constantFrom<0 | 1>(0, 1),
  what: fc.constantFrom("write", "delete", "sync"),
  md5: digest,
});

/** One path, one server, two clients that sync when told: the rules and nothing else. */
class TinyWorld {
  server: string | undefined;
  readonly saved = new Set<string>();
  readonly #versions = new Set<string>();
  readonly #clients: { base: string | undefined; local: string | undefined }[] = [
    { base: undefined, local: undefined },
    { base: undefined, local: undefined },
  ];

  do({ who, what, md5 }: Step): void {
    const client = this.#clients[who]!;
    if (what === "sync") return this.#sync(client);
    if (what === "delete") {
      if (client.local !== undefined) this.#versions.add(client.local); // the user's own doing
      client.local = undefined;
      return;
    }
    if (client.local !== undefined) this.#versions.add(client.local);
    client.local = md5;
    this.saved.add(md5);
  }

  rest(): void {
    for (let round = 0; round < 3; round++) for (const client of this.#clients) this.#sync(client);
  }

  contents(): (string | undefined)[] {
    return [this.server, ...this.#clients.map(({ local }) => local)];
  }

  isKept(md5: string): boolean {
    return this.#versions.has(md5) || this.contents().includes(md5);
  }

  #sync(client: { base: string | undefined; local: string | undefined }): void {
    const known = client.base === undefined ? undefined : base(client.base);
    const here = client.local === undefined ? ABSENT : local(client.local);
    const there: Remote = this.server === undefined ? { kind: "deleted", md5: undefined } : file(this.server);
    const { action } = reconcile(known, here, there, SETTINGS);
    if (action === "upload" || action === "delete-remote") {
      if (this.server !== undefined) this.#versions.add(this.server);
      this.server = client.local;
    } else if (action === "request" || action === "conflict" || action === "delete-local") {
      if (client.local !== undefined) this.#versions.add(client.local);
      client.local = this.server;
    } else {
      expect(["in-sync", "adopt", "forget"]).toContain(action);
    }
    client.base = client.local;
  }
}
