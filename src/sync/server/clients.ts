import type { Link } from "../ports.ts";
import { Feed, type FeedHub } from "./feed.ts";
import { type Channel, Pairing, type PairingChange } from "./pairing.ts";
import type { Entry, Roster } from "./roster.ts";

/** How far apart the two connections of one client may come. */
const PAIRING_WINDOW_MS = 5_000;

/** Who is connected: which connections are one client's, and what each client has to hear of (decisions 9 and 13). */
export class Clients {
  readonly #roster: Roster;
  readonly #hub: FeedHub;
  readonly #paired: (session: number, isExact: boolean) => void;
  readonly #pairing = new Pairing(PAIRING_WINDOW_MS);
  /** By the connection on which updates are sent. */
  readonly #feeds = new Map<number, Feed>();
  /** What clients sent that were only guessed to have sent it: should the guess be wrong, they have to hear of it. */
  readonly #guessed = new Map<Feed, Set<string>>();

  constructor(roster: Roster, hub: FeedHub, paired: (session: number, isExact: boolean) => void) {
    this.#roster = roster;
    this.#hub = hub;
    this.#paired = paired;
  }

  get feeds(): Iterable<Feed> {
    return this.#feeds.values();
  }

  get count(): number {
    return this.#feeds.size;
  }

  /** @returns the feed of a connection on which updates are sent; from now on it hears of every change */
  arrived(session: number, channel: Channel, link: Link): Feed | undefined {
    const feed = channel === "send" ? new Feed(session, link, this.#hub, this.#roster.sequence) : undefined;
    if (feed !== undefined) this.#feeds.set(session, feed);
    this.#apply(this.#pairing.arrived(session, channel, link.address, this.#nowMs));
    return feed;
  }

  named(session: number, token: string): void {
    const feed = this.#feeds.get(session);
    if (feed !== undefined) feed.isOurs = true;
    this.#apply(this.#pairing.named(session, token, this.#nowMs));
  }

  left(session: number): void {
    const feed = this.#feeds.get(session);
    this.#feeds.delete(session);
    if (feed !== undefined) {
      this.#guessed.delete(feed);
      feed.closed();
    }
    this.#apply(this.#pairing.left(session, this.#nowMs));
  }

  /** What is pushed to the client whose connection this is, if that is known. */
  feedOf(session: number): Feed | undefined {
    const partner = this.#pairing.partnerOf(session);
    return this.#feeds.get(session) ?? (partner === undefined ? undefined : this.#feeds.get(partner));
  }

  /** The feeds of which one may belong to a connection that nothing is known of. */
  *candidates(address: string): Generator<Feed> {
    for (const feed of this.#feeds.values())
      if (feed.link.address === address && this.#pairing.partnerOf(feed.session) === undefined) yield feed;
  }

  /** Whether the client is one of ours, as the token has shown that it named on this connection. */
  isOurs(session: number): boolean {
    return this.#pairing.hasToken(session);
  }

  /**
   * A file has a new state. Whoever does not have it hears of it, its author included where that is not sure.
   * @param isCertain the author has exactly this
   */
  changed(name: string, entry: Entry, author: number, isCertain: boolean): void {
    const feed = this.feedOf(author);
    if (feed !== undefined && isCertain) {
      feed.known.tell(name, entry.sequence);
      if (!this.isOurs(author) && this.#pairing.partnerOf(author) !== undefined) this.#noteGuess(feed, name);
    }
    this.settle(name);
  }

  /** Whoever is not known to have the current state of a file is to hear of it. */
  settle(name: string): void {
    const entry = this.#roster.get(name);
    if (entry === undefined) return;
    for (const feed of this.#feeds.values()) {
      // At the end of a delivery it is looked at again.
      if (!feed.known.holds(name, entry.sequence) && !feed.isDelivering(name)) feed.add(name);
    }
  }

  /** The same, but not yet. */
  settleLater(name: string, atMs: number): void {
    const entry = this.#roster.get(name);
    if (entry === undefined) return;
    for (const feed of this.#feeds.values())
      if (!feed.known.holds(name, entry.sequence)) feed.addLater(name, atMs);
  }

  #noteGuess(feed: Feed, name: string): void {
    const names = this.#guessed.get(feed);
    if (names === undefined) this.#guessed.set(feed, new Set([name]));
    else names.add(name);
  }

  #apply(changes: readonly PairingChange[]): void {
    for (const { change, send, receive, isExact } of changes) {
      const feed = this.#feeds.get(send);
      if (feed === undefined) continue;
      if (change === "paired") {
        if (isExact) this.#guessed.delete(feed);
        this.#paired(receive, isExact);
      } else {
        const names = this.#guessed.get(feed) ?? [];
        this.#guessed.delete(feed);
        for (const name of names) {
          feed.known.forget(name);
          this.settle(name);
        }
      }
    }
  }

  get #nowMs(): number {
    return this.#hub.clock.monotonicMs();
  }
}
