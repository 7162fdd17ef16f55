/** What an agent tells while it works; one line each with `--json`. */
export type AgentEvent =
  | { type: "connected"; peer: string; server: "dray" | "other"; files: number }
  | { type: "disconnected"; code: string; message: string; retryMs: number }
  | { type: "sent"; name: string; sizeBytes: number; durationMs: number }
  | { type: "received"; name: string; sizeBytes: number }
  /** `side`: where the file went to the versions. */
  | { type: "deleted"; name: string; side: "here" | "server" }
  /** `copy`: under which name the content of this machine is kept; missing: it is there already. */
  | { type: "conflict"; name: string; copy?: string }
  | { type: "refused"; name: string; message: string }
  | { type: "held"; message: string; files: number; approvable: boolean }
  | { type: "released" }
  | { type: "warning"; message: string }
  /** Nothing is left to do until something changes. `problems`: files that are not in sync, and why is in `--status`. */
  | { type: "in-sync"; files: number; problems: number };
