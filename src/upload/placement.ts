/** Which copy of which part: both are indexes. */
export interface Copy {
  part: number;
  server: number;
}

export interface PlacementSettings {
  /** SHA-256 of the whole file in hexadecimal: different files load different servers. */
  root: string;
  parts: number;
  /** As "host:port": what a server is called decides what it gets, not its place in the list. */
  servers: readonly string[];
  /** How many copies each part shall have. */
  copies: number;
}

/**
 * The servers for a part, the most wanted first: rendezvous hashing, so that each server has about the
 * same share, and one more or less moves only what it gets or had.
 */
export function preferredServers(root: string, part: number, servers: readonly string[]): number[] {
  const weights = servers.map((server) =>
    new Bun.CryptoHasher("sha256").update(`${root}/${part}/${server}`).digest("hex"),
  );
  return servers.map((_, index) => index).sort((a, b) => (weights[a]! > weights[b]! ? -1 : 1));
}

/**
 * Who gets which part, told what landed and what failed. Pure: a put and a repair ask it what is missing,
 * do that, tell how it went, and ask again until nothing is missing that could be had.
 */
export class Placement {
  readonly #settings: PlacementSettings;
  /** Of each part: the servers that take it, the most wanted first. */
  readonly #candidates: number[][];
  readonly #landed: Set<number>[];
  readonly #lost = new Set<number>();

  constructor(settings: PlacementSettings) {
    this.#settings = settings;
    const { root, parts, servers } = settings;
    this.#candidates = Array.from({ length: parts }, (_, part) => preferredServers(root, part, servers));
    this.#landed = this.#candidates.map(() => new Set<number>());
  }

  /** A good copy is there. */
  landed({ part, server }: Copy): void {
    this.#landed[part]!.add(server);
  }

  /** Whether a good copy is there, as far as was told. */
  has({ part, server }: Copy): boolean {
    return this.#landed[part]!.has(server);
  }

  /** A copy turned out to be gone or wrong; it may be put there again. */
  vanished({ part, server }: Copy): void {
    this.#landed[part]!.delete(server);
  }

  /** This server does not take this part: another one shall. */
  refused({ part, server }: Copy): void {
    this.vanished({ part, server });
    this.#candidates[part] = this.#candidates[part]!.filter((candidate) => candidate !== server);
  }

  /** The server is gone: its share is for others. What had landed there may come back with it. */
  lost(server: number): void {
    this.#lost.add(server);
  }

  isLost(server: number): boolean {
    return this.#lost.has(server);
  }

  /** The servers that shall have a part: as many as copies are asked for, or as there are. */
  wanted(part: number): number[] {
    const { copies } = this.#settings;
    return this.#candidates[part]!.filter((server) => !this.#lost.has(server)).slice(0, copies);
  }

  /** All copies that are still to be made. */
  missing(): Copy[] {
    return this.#candidates.flatMap((_, part) =>
      this.wanted(part)
        .filter((server) => !this.#landed[part]!.has(server))
        .map((server) => ({ part, server })),
    );
  }

  /** Who has a good copy of a part and is there: those that shall have it first. */
  living(part: number): number[] {
    const landed = this.#landed[part]!;
    const wanted = this.wanted(part).filter((server) => landed.has(server));
    const others = [...landed].filter((server) => !wanted.includes(server) && !this.#lost.has(server));
    return [...wanted, ...others];
  }

  /** Those, and behind them who had one when it was lost. */
  holders(part: number): number[] {
    const living = this.living(part);
    return [...living, ...[...this.#landed[part]!].filter((server) => !living.includes(server))];
  }

  /** Copies beyond those that were asked for: only of parts that have all of these. */
  surplus(): Copy[] {
    return this.#candidates.flatMap((_, part) => {
      const wanted = this.wanted(part);
      if (wanted.length < this.#settings.copies) return [];
      const living = this.living(part);
      if (wanted.some((server) => !living.includes(server))) return [];
      return living.filter((server) => !wanted.includes(server)).map((server) => ({ part, server }));
    });
  }

  /** Parts that have fewer living copies than were asked for, with how many they have. */
  short(): { part: number; copies: number }[] {
    return this.#candidates
      .map((_, part) => ({ part, copies: this.living(part).length }))
      .filter(({ copies }) => copies < this.#settings.copies);
  }
}
