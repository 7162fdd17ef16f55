/**
 * Every way in which dray can fail: one table that maps the stable code to its number on the
 * wire, to the exit code of the process, and to whether trying again can help.
 *
 * Codes and wire numbers are a public contract (docs/PROTOCOL.md): never reuse a number.
 */
export const ERROR_CODES = {
  internal: { wire: 1, exit: 1, retry: false, meaning: "a fault inside dray" },
  usage: { wire: 2, exit: 2, retry: false, meaning: "wrong options or configuration" },
  partial: { wire: 3, exit: 3, retry: false, meaning: "some items failed, each one is listed" },
  "not-found": { wire: 4, exit: 4, retry: false, meaning: "there is no such file or directory" },
  integrity: { wire: 5, exit: 5, retry: true, meaning: "a digest or a length does not match" },
  changed: { wire: 6, exit: 5, retry: true, meaning: "the file changed while it was being sent" },
  protocol: { wire: 7, exit: 5, retry: false, meaning: "the peer broke the protocol" },
  unauthorized: { wire: 8, exit: 6, retry: false, meaning: "token or certificate missing or wrong" },
  refused: { wire: 9, exit: 6, retry: false, meaning: "the peer or the system does not allow it" },
  name: { wire: 10, exit: 6, retry: false, meaning: "a name that may not be used" },
  unsupported: { wire: 11, exit: 6, retry: false, meaning: "the peer does not offer this" },
  busy: { wire: 12, exit: 7, retry: true, meaning: "the peer is at its limit" },
  unreachable: { wire: 13, exit: 7, retry: true, meaning: "no connection could be made" },
  timeout: { wire: 14, exit: 7, retry: true, meaning: "the peer made no progress in time" },
  closed: { wire: 15, exit: 7, retry: true, meaning: "the connection ended too early" },
  storage: { wire: 16, exit: 1, retry: false, meaning: "the local disk failed" },
  "no-space": { wire: 17, exit: 1, retry: false, meaning: "the local disk is full" },
  interrupted: { wire: 18, exit: 130, retry: false, meaning: "stopped by a signal or a shutdown" },
  locked: { wire: 19, exit: 6, retry: true, meaning: "another client is working on it" },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Exit codes of every command. The whole table is in the README; 0 means all was done and verified. */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  partial: 3,
  notFound: 4,
  integrity: 5,
  refused: 6,
  unreachable: 7,
  guard: 8,
  interrupted: 130,
  terminated: 143,
} as const;

const byWireNumber = new Map<number, ErrorCode>(
  Object.entries(ERROR_CODES).map(([code, traits]) => [traits.wire, code as ErrorCode]),
);

/** The code behind a number from the wire; a number from a newer peer reads as "refused". */
export function codeFromWire(wireNumber: number): ErrorCode {
  return byWireNumber.get(wireNumber) ?? "refused";
}
