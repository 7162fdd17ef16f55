import { Clients } from "../../../src/sync/server/clients.ts";
import { Feed } from "../../../src/sync/server/feed.ts";
import { Hub } from "../../../src/sync/server/hub.ts";
import { Roster } from "../../../src/sync/server/roster.ts";
import { Session } from "../../../src/sync/server/session.ts";
import { Landing } from "../../../src/sync/client/landing.ts";
import { PathBook, type PathEntry } from "../../../src/sync/client/path-book.ts";
import { PathKeeper } from "../../../src/sync/client/path-keeper.ts";
import { stampOf } from "../../../src/sync/client/path-record.ts";
import { Staging } from "../../../src/sync/staging.ts";
import type { OpenFile, TreePath } from "../../../src/sync/ports.ts";
import type { VersionLimits } from "../../../src/sync/version-retention.ts";
import { NO_MD5 } from "../../../src/wire/sync-messages.ts";
import type { SimulatedNode } from "./node.ts";

/** A bug that is put in for a world, from outside: a method of the cores replaced, or a port that does not do what it should. */
export interface Plant {
  /** Replaces methods. @returns puts the real ones back */
  install?(): () => void;
  /** Told of each process before it begins, with the ports that it is to get. */
  process?(node: SimulatedNode): void;
  readonly versions?: Partial<VersionLimits>;
}

/** Replaces a method. @returns puts the real one back */
function patch<T extends object, K extends keyof T>(
  target: T,
  key: K,
  make: (real: T[K]) => T[K],
): () => void {
  const real = target[key];
  target[key] = make(real);
  return () => void (target[key] = real);
}

function all(...takeBacks: (() => void)[]): () => void {
  return () => takeBacks.forEach((takeBack) => takeBack());
}

/** Replaces how files are created. */
function patchedFiles(node: SimulatedNode, change: (file: OpenFile, path: TreePath) => void): void {
  const { tree } = node.ports!;
  const create = tree.create.bind(tree);
  tree.create = (path) => {
    const file = create(path);
    change(file, path);
    return file;
  };
}

const nothing = async (): Promise<void> => {};

export const PLANTS: Readonly<Record<string, Plant>> = {
  "no re-enqueue after a commit that came while the file was being delivered": {
    install: () => patch(Hub.prototype, "delivered", () => () => {}),
  },

  "echoes are told by time: what changes within a second after a delivery is taken for it": {
    install() {
      let last: PathEntry | undefined;
      const received = new WeakMap<PathKeeper, Map<string, { entry: PathEntry; atNs: bigint }>>();
      return all(
        patch(
          PathBook.prototype,
          "at",
          (real) =>
            function (this: PathBook, name) {
              return (last = real.call(this, name));
            },
        ),
        patch(
          PathKeeper.prototype,
          "arrived",
          (real) =>
            function (this: PathKeeper, file, isOurs) {
              const done = real.call(this, file, isOurs);
              const entry = last!;
              return done.then((code) => {
                const mine = received.get(this) ?? new Map();
                received.set(
                  this,
                  mine.set(file.name, {
                    entry,
                    atNs: entry.local.kind === "file" ? entry.local.ctimeNs : 0n,
                  }),
                );
                return code;
              });
            },
        ),
        patch(
          PathKeeper.prototype,
          "settled",
          (real) =>
            function (this: PathKeeper, name, stat) {
              const receipt = received.get(this)?.get(name);
              const isEcho =
                receipt !== undefined && stat !== undefined && stat.ctimeNs - receipt.atNs < 1_000_000_000n;
              const base = receipt?.entry.base;
              if (!isEcho || base === undefined) return real.call(this, name, stat);
              receipt.entry.base = { ...base, ...stampOf(stat) };
              receipt.entry.local = { kind: "file", md5: base.md5, ...stampOf(stat) };
              return real.call(this, name, stat);
            },
        ),
      );
    },
  },

  "no fsync before the rename": {
    process: (node) => patchedFiles(node, (file) => void (file.sync = nothing)),
  },

  "no fsync of directories": {
    process: (node) => void (node.ports!.tree.syncDirectory = nothing),
  },

  "a delete is carried out on the server whatever it holds": {
    install: () =>
      patch(
        Hub.prototype,
        "remove",
        (real) =>
          function (this: Hub, session, name, path) {
            return real.call(this, session, name, path, NO_MD5);
          },
      ),
  },

  "a delete of the server is carried out on the client whatever it holds": {
    install: () =>
      patch(
        Landing.prototype,
        "deleted",
        (real) =>
          function (this: Landing, entry, md5) {
            if (entry.local.kind === "file")
              entry.base = {
                ...stampOf(entry.local),
                md5: entry.local.md5 ?? entry.base?.md5 ?? "0".repeat(32),
                sequence: undefined,
              };
            return real.call(this, entry, md5);
          },
      ),
  },

  "locks are kept when their connection ends": {
    install() {
      let isEnding = false;
      return all(
        patch(
          Session.prototype,
          "closed",
          (real) =>
            function (this: Session, error) {
              isEnding = true;
              real.call(this, error);
              isEnding = false;
            },
        ),
        patch(
          Roster.prototype,
          "unlock",
          (real) =>
            function (this: Roster, name, session) {
              return isEnding ? false : real.call(this, name, session);
            },
        ),
      );
    },
  },

  "queues hold contents instead of names": {
    install() {
      const queued = new WeakMap<Feed, Map<string, Uint8Array>>();
      return all(
        patch(
          Feed.prototype,
          "add",
          (real) =>
            function (this: Feed, name) {
              const tree = serverOf?.ports?.tree;
              const path = name.split("/");
              if (
                serverOf?.hub?.roster.file(name) !== undefined &&
                tree?.stat(path)?.kind === "file" &&
                !this.queue.has(name)
              ) {
                const file = tree.open(path);
                const bytes = new Uint8Array(file.stat().sizeBytes);
                file.read(bytes, 0);
                file.close();
                const mine = queued.get(this) ?? new Map();
                queued.set(this, mine.set(name, bytes));
              }
              return real.call(this, name);
            },
        ),
        patch(
          Hub.prototype,
          "open",
          (real) =>
            async function (this: Hub, feed, name, form) {
              const delivery = await real.call(this, feed, name, form);
              const bytes = queued.get(feed)?.get(name);
              queued.get(feed)?.delete(name);
              if (delivery.what !== "file" || bytes === undefined) return delivery;
              delivery.source.close();
              const md5 = this.hasher.md5(bytes);
              let isGiven = false;
              const next = async () => {
                if (isGiven) return undefined;
                isGiven = true;
                return { sizeBytes: bytes.length, md5, read: (into: Uint8Array) => into.set(bytes) };
              };
              return { ...delivery, source: { next, whole: async () => md5, close: () => {} } };
            },
        ),
      );
    },
    process: seeServer,
  },

  "a conflict copy takes the place of an older one": {
    process(node) {
      if (node.kind !== "client") return;
      const { tree, clock } = node.ports!;
      const wallMs = clock.wallMs.bind(clock);
      clock.wallMs = () => Math.floor(wallMs() / 3_600_000) * 3_600_000;
      const plain = (path: TreePath): TreePath => path.map((name) => name.replace(NUMBERED, "$1"));
      const { stat, open, link } = {
        stat: tree.stat.bind(tree),
        open: tree.open.bind(tree),
        link: tree.link.bind(tree),
      };
      tree.stat = (path) => (NUMBERED.test(path.at(-1) ?? "") ? undefined : stat(path));
      tree.open = (path) => open(plain(path));
      tree.link = (from, to) => {
        if (NUMBERED.test(to.at(-1) ?? "")) tree.unlink(plain(to));
        link(from, plain(to));
      };
    },
  },

  "the list is taken before the client is registered": {
    install: () =>
      patch(
        Feed.prototype,
        "add",
        (real) =>
          function (this: Feed, name) {
            if (this.current !== "META-DATA") return real.call(this, name);
            const entry = serverOf?.hub?.roster.get(name);
            if (entry !== undefined) this.known.tell(name, entry.sequence);
          },
      ),
    process: seeServer,
  },

  "a damaged chunk is not cut off again": {
    install: () =>
      patch(
        Staging.prototype,
        "create",
        (real) =>
          function (this: Staging) {
            const staged = real.call(this);
            staged.cutBack = () => {};
            return staged;
          },
      ),
  },

  "who sends a file counts as having it, whatever came to it meanwhile": {
    install: () =>
      patch(
        Clients.prototype,
        "changed",
        (real) =>
          function (this: Clients, name, entry, author) {
            real.call(this, name, entry, author, true);
          },
      ),
  },

  "what a crash left in staging stays": {
    install: () => patch(Staging.prototype, "clear", () => () => 0),
  },

  "nothing is kept among the versions": { versions: { maxCount: 0 } },

  "deletes are forgotten when the server restarts": {
    process(node) {
      if (node.kind !== "server") return;
      for (const [name, value] of node.machine.ledgerStore.tables.get("files") ?? [])
        if ((JSON.parse(value) as unknown[]).length === 3)
          node.machine.ledgerStore.tables.get("files")!.delete(name);
    },
  },
};

const NUMBERED = /^(.* \(conflict [^)]*\)) \d+/;
let serverOf: SimulatedNode | undefined;

function seeServer(node: SimulatedNode): void {
  if (node.kind === "server") serverOf = node;
}
