import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { DialTarget } from "../net/dial.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import type { CAPABILITY } from "../wire/messages.ts";
import { pause } from "./pause.ts";
import { AttemptPolicy, type DialPolicy, type Retry } from "./retry-policy.ts";

export interface RemoteSettings {
  target: DialTarget;
  client: ClientSettings;
  /** What it has to offer, and what that is called. */
  needs: { capability: (typeof CAPABILITY)[keyof typeof CAPABILITY]; what: string };
  policy: DialPolicy;
  /** Ends connections, and attempts to make one. */
  signal: AbortSignal;
  /** An attempt failed, and there will be another one. */
  retrying(error: DrayError, retry: Retry): void;
}

/** One connection to a server: made when it is needed, and made again while that can help. */
export class Remote {
  readonly #settings: RemoteSettings;
  /** Takes our requests once we have no connection. */
  readonly #fallback: Remote | undefined;
  #client: Client | undefined;
  #connecting: Promise<Client> | undefined;
  #givenUp: DrayError | undefined;

  /** @param fallback another connection to the same server: with one, a connection is tried for once */
  constructor(settings: RemoteSettings, fallback?: Remote) {
    this.#settings = settings;
    this.#fallback = fallback;
    settings.signal.addEventListener("abort", () => this.drop(stopped()));
  }

  /** Why there will be no connection any more. */
  get givenUp(): DrayError | undefined {
    return this.#givenUp;
  }

  /** @throws DrayError when the server is given up, "interrupted" after the signal */
  async client(): Promise<Client> {
    if (this.#settings.signal.aborted) throw stopped();
    if (this.#client?.isOpen === true) return this.#client;
    if (this.#givenUp !== undefined) {
      if (this.#fallback === undefined) throw this.#givenUp;
      return this.#fallback.client();
    }
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined));
    try {
      return await this.#connecting;
    } catch (error) {
      if (this.#settings.signal.aborted) throw stopped();
      this.#givenUp = asDrayError(error);
      return this.client();
    }
  }

  /** Verified bytes came. */
  progressed(): void {
    this.#settings.policy.wasThere(performance.now());
  }

  /** Ends the connection; what is under way fails with this. */
  drop(reason: DrayError): void {
    this.#client?.close(reason);
    this.#client = undefined;
  }

  async #connect(): Promise<Client> {
    const { target, client: clientSettings, needs, policy, signal } = this.#settings;
    for (;;) {
      try {
        const client = await unlessAborted(Client.connect(target, clientSettings), signal);
        policy.wasThere(performance.now());
        try {
          client.require(needs.capability, needs.what);
        } catch (error) {
          client.close();
          throw error;
        }
        return (this.#client = client);
      } catch (error) {
        if (signal.aborted || this.#fallback !== undefined) throw error;
        const known = asDrayError(error);
        const retry = policy.failed(known, performance.now(), Math.random());
        if (retry === undefined) throw known;
        this.#settings.retrying(known, retry);
        await pause(retry.waitMs, signal);
      }
    }
  }
}

export interface Persistence {
  attempts: number;
  signal: AbortSignal;
  retrying(error: DrayError, retry: Retry): void;
}

/**
 * Does something over a connection, and again over another one while that can help.
 * @param work calls `progressed` when it got on
 * @throws DrayError: the last one, or "interrupted" after the signal
 */
export async function persist<T>(
  remote: Remote,
  persistence: Persistence,
  work: (client: Client, progressed: () => void) => Promise<T>,
): Promise<T> {
  const { signal } = persistence;
  const policy = new AttemptPolicy(persistence.attempts);
  const progressed = (): void => {
    policy.progressed();
    remote.progressed();
  };
  for (;;) {
    const client = await remote.client();
    try {
      return await work(client, progressed);
    } catch (error) {
      if (signal.aborted) throw stopped();
      const known = asDrayError(error);
      // Behind the request that was under way when the connection went: not to blame for that.
      const isVictim = client.closedBy !== undefined && known.cause === client.closedBy;
      if (isVictim) continue;
      const retry = policy.failed(known, Math.random());
      if (retry === undefined) throw known;
      persistence.retrying(known, retry);
      await pause(retry.waitMs, signal);
    }
  }
}

function stopped(): DrayError {
  return new DrayError("interrupted", "stopped");
}

/** A connection that comes after the signal is closed again. */
async function unlessAborted(connecting: Promise<Client>, signal: AbortSignal): Promise<Client> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(stopped());
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (error) {
    connecting.then(
      (client) => client.close(),
      () => {}, // it is what was thrown, or comes second to the signal
    );
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
