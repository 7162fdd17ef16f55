import type { ErrorCode } from "../errors/codes.ts";
import { type DrayError, asDrayError } from "../errors/dray-error.ts";
import { showTarget } from "../net/dial.ts";
import type { Target } from "../options/target-list.ts";
import { exitCodeOfMany } from "../report/put-exit-code.ts";
import { safeName, safeText } from "../report/safe-text.ts";
import type { Client } from "../transfer/client.ts";
import { connectWithin } from "../upload/server-link.ts";
import { CAPABILITY } from "../wire/messages.ts";
import type { CommandIo } from "./command.ts";
import { type ClientDoorOptions, clientSecurity } from "./doors.ts";
import { tell } from "./output.ts";
import { untilInterrupted } from "./shutdown.ts";
import { AGENT } from "./version.ts";

/** The values of ON_OPTIONS and those that every command has. */
export interface OnOptions extends ClientDoorOptions {
  readonly on: readonly Target[];
  readonly timeoutMs: number;
  readonly json: boolean;
}

/** Something that is asked of each server. */
export interface Asked {
  /** "remove", "list": for messages. */
  verb: string;
  needs: keyof typeof CAPABILITY;
  /** Asks it of one server, telling what was done and what was not. @throws DrayError when all of it failed */
  ask: (client: Client, target: Target, outcome: Outcome) => Promise<void>;
}

/** What was done and what was not, on all servers. */
export class Outcome {
  readonly #verb: string;
  readonly #json: boolean;
  readonly #io: CommandIo;
  readonly #codes = new Set<ErrorCode>();
  done = 0;
  failed = 0;

  constructor(verb: string, json: boolean, io: CommandIo) {
    this.#verb = verb;
    this.#json = json;
    this.#io = io;
  }

  get exitCode(): number {
    return exitCodeOfMany(this.done, [...this.#codes]);
  }

  /** @param path what it is about; undefined if it is about the server as a whole */
  async failedWith(target: Target, path: string | undefined, error: DrayError): Promise<void> {
    this.failed++;
    this.#codes.add(error.code);
    const { code, message } = error;
    if (this.#json)
      await this.#io.out.event({
        type: "failure",
        ...target,
        ...(path === undefined ? {} : { path }),
        code,
        message,
      });
    const what = path === undefined ? "anything" : safeName(path);
    await tell(`Cannot ${this.#verb} ${what} on ${showTarget(target)}: ${safeText(message)}`);
  }

  async doneWith(type: string, target: Target, fields: Record<string, unknown>): Promise<void> {
    this.done++;
    if (this.#json) await this.#io.out.event({ type, ...target, ...fields });
  }
}

const CANNOT: Partial<Record<keyof typeof CAPABILITY, string>> = {
  writes: "to change files (it was started without --writable)",
  content: "files",
};

/** Asks something of each server at the same time, or one after the other. @returns the exit code */
export async function onServers(
  options: OnOptions,
  io: CommandIo,
  { verb, needs, ask }: Asked,
  inTurn = false,
): Promise<number> {
  const security = await clientSecurity(options, (message) => io.log.warn(message));
  const { timeoutMs, json, on } = options;
  return untilInterrupted(async (signal) => {
    const outcome = new Outcome(verb, json, io);
    const askOne = async (target: Target): Promise<void> => {
      let client: Client | undefined;
      const stop = (): void => client?.close();
      try {
        const settings = { agent: AGENT, timeoutMs: Math.max(1, timeoutMs), security };
        client = await connectWithin(target, settings, timeoutMs, signal);
        signal.addEventListener("abort", stop);
        client.require(CAPABILITY[needs], CANNOT[needs] ?? needs);
        await ask(client, target, outcome);
      } catch (error) {
        signal.throwIfAborted();
        await outcome.failedWith(target, undefined, asDrayError(error));
      } finally {
        signal.removeEventListener("abort", stop);
        client?.close();
      }
    };
    if (inTurn) for (const target of on) await askOne(target);
    else await Promise.all(on.map(askOne));
    if (json) await io.out.event({ type: "result", done: outcome.done, failed: outcome.failed });
    return outcome.exitCode;
  });
}
