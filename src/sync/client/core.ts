import type { DirectorySyncs } from "../directory-syncs.ts";
import type { Ports } from "../ports.ts";
import type { AgentEvent } from "./agent-events.ts";
import type { AgentSettings } from "./agent-settings.ts";
import type { Outbox } from "./outbox.ts";
import type { PathBook, PathEntry } from "./path-book.ts";
import type { Turns } from "./turns.ts";

/** What the parts of an agent share. */
export interface Core {
  readonly ports: Ports;
  readonly settings: AgentSettings;
  /** What is agreed on must not be undone by a power loss, so names of the user's are synced before. */
  readonly syncs: DirectorySyncs;
  readonly book: PathBook;
  /** What changes a file here, one after the other for each name. */
  readonly turns: Turns;
  /** While things can be sent; undefined: there is no server, or it has not said yet what it has. */
  online(): { readonly outbox: Outbox; readonly isOurs: boolean } | undefined;
  tell(event: AgentEvent): void;
  /** Decides anew what is to be done about a path, and begins it. */
  consider(entry: PathEntry): void;
  /** Looks at a name again, soon. */
  hint(name: string): void;
  /** Has `consider` called later. */
  considerAt(entry: PathEntry, atMs: number): void;
}
