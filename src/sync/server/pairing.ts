/** "send": the connection on which the server sends updates, "receive": the one on which it takes them. */
export type Channel = "send" | "receive";

/** Two connections are one client's, or, after a mistake, are not. */
export interface PairingChange {
  readonly change: "paired" | "parted";
  readonly send: number;
  readonly receive: number;
  /** By a token that only one client can know. */
  readonly isExact: boolean;
}

interface Member {
  readonly session: number;
  readonly channel: Channel;
  readonly address: string;
  readonly arrivedMs: number;
  token: string | undefined;
  partner: Member | undefined;
  /** Its partner has gone: it is nobody else's. */
  isWidowed: boolean;
}

/**
 * Finds out which two connections are one client's (decision 9). By the order of arrival from one address, if two come
 * within the window and no third one makes it a guess; exactly, when both have named the same token. Who stays
 * alone is excluded from nothing. Pure: told the time.
 */
export class Pairing {
  readonly #windowMs: number;
  readonly #members = new Map<number, Member>();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** @returns what changes by it, here as in the others */
  arrived(session: number, channel: Channel, address: string, nowMs: number): PairingChange[] {
    const alone = { token: undefined, partner: undefined, isWidowed: false };
    this.#members.set(session, { session, channel, address, arrivedMs: nowMs, ...alone });
    return this.#guess(address, nowMs);
  }

  /** A connection has named a token; only its first one counts. */
  named(session: number, token: string, nowMs: number): PairingChange[] {
    const member = this.#members.get(session);
    if (member === undefined || member.token !== undefined) return [];
    member.token = token;
    const changes: PairingChange[] = [];
    // What was a guess so far may have been a wrong one.
    const guessed = member.partner;
    if (guessed !== undefined && guessed.token !== undefined && guessed.token !== token)
      changes.push(part(member, guessed));
    for (const other of this.#members.values()) {
      if (other === member || other.token !== token || other.channel === member.channel) continue;
      if (other.partner?.token === token && other.partner !== member) continue;
      if (member.partner !== undefined && member.partner !== other)
        changes.push(part(member, member.partner));
      if (other.partner !== undefined && other.partner !== member) changes.push(part(other, other.partner));
      changes.push(pair(member, other, true));
      break;
    }
    return [...changes, ...this.#guess(member.address, nowMs)];
  }

  /** A connection is gone; that its partner is alone then is not told. */
  left(session: number, nowMs: number): PairingChange[] {
    const member = this.#members.get(session);
    if (member === undefined) return [];
    this.#members.delete(session);
    if (member.partner === undefined) return this.#guess(member.address, nowMs);
    member.partner.isWidowed = true;
    member.partner.partner = undefined;
    return [];
  }

  partnerOf(session: number): number | undefined {
    return this.#members.get(session)?.partner?.session;
  }

  /** Whether it has named a token: only a client of ours does. */
  hasToken(session: number): boolean {
    return this.#members.get(session)?.token !== undefined;
  }

  #guess(address: string, nowMs: number): PairingChange[] {
    const alone: Member[] = [];
    for (const member of this.#members.values()) {
      if (member.address !== address || member.partner !== undefined) continue;
      if (member.token !== undefined || member.isWidowed) continue;
      if (nowMs - member.arrivedMs <= this.#windowMs) alone.push(member);
    }
    const [first, second] = alone;
    if (alone.length !== 2 || first!.channel === second!.channel) return [];
    return [pair(first!, second!, false)];
  }
}

function pair(one: Member, other: Member, isExact: boolean): PairingChange {
  one.partner = other;
  other.partner = one;
  return { change: "paired", ...sides(one, other), isExact };
}

function part(one: Member, other: Member): PairingChange {
  one.partner = undefined;
  other.partner = undefined;
  return { change: "parted", ...sides(one, other), isExact: false };
}

function sides(one: Member, other: Member): { send: number; receive: number } {
  const [send, receive] = one.channel === "send" ? [one, other] : [other, one];
  return { send: send.session, receive: receive.session };
}
