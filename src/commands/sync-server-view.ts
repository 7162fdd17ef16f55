import { syncServerLine, syncServerStanding } from "../report/sync-server-lines.ts";
import type { HubEvent, HubObserver } from "../sync/server/hub-settings.ts";
import type { Hub } from "../sync/server/hub.ts";
import type { CommandIo } from "./command.ts";

const LIVE_MS = 500;
/** Events that the reader of stdout has not taken yet; beyond that they are only counted. */
const MAX_PENDING = 10_000;
const CLEAR_LINE = "\r\u001b[K";

/** What people and programs hear of a running hub: the log, JSON events, a live line on a terminal. */
export class SyncServerView implements HubObserver {
  readonly #io: CommandIo;
  readonly #json: boolean;
  readonly #isLive: boolean;
  #timer: Timer | undefined;
  #shown = "";
  #pending = 0;
  #lost = 0;

  constructor(io: CommandIo, json: boolean) {
    this.#io = io;
    this.#json = json;
    this.#isLive = !json && process.stderr.isTTY && io.log.level >= 3;
  }

  event(event: HubEvent): void {
    if (this.#json) return this.#print(event);
    const { level, text } = syncServerLine(event);
    this.#log(() => this.#io.log[level](text));
  }

  info(message: string): void {
    this.#log(() => this.#io.log.info(message));
  }

  warn(message: string): void {
    this.#log(() => this.#io.log.warn(message));
  }

  /** Keeps a line about the hub at the bottom of the terminal. */
  follow(hub: Hub): void {
    if (!this.#isLive) return;
    const draw = (): void => {
      let waiting = 0;
      for (const feed of hub.clients.feeds) waiting += feed.queue.size;
      const { fileCount: files, lockCount: locks } = hub.roster;
      const line = syncServerStanding({ files, clients: hub.clients.count, locks, waiting });
      if (line !== this.#shown) process.stderr.write(`${CLEAR_LINE}${line}`);
      this.#shown = line;
    };
    draw();
    this.#timer = setInterval(draw, LIVE_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#clear();
  }

  #print(event: { readonly type: string }): void {
    if (this.#pending >= MAX_PENDING) {
      this.#lost++;
      return;
    }
    this.#pending++;
    void this.#io.out.event({ ...event }).then(() => {
      if (--this.#pending > 0 || this.#lost === 0) return;
      const count = this.#lost;
      this.#lost = 0;
      this.#print({ type: "events-lost", count } as { type: string });
    });
  }

  #log(write: () => void): void {
    this.#clear();
    write();
  }

  #clear(): void {
    if (this.#shown !== "") process.stderr.write(CLEAR_LINE);
    this.#shown = "";
  }
}
