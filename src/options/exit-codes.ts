import { ERROR_CODES, EXIT } from "../errors/codes.ts";

const MEANINGS: Record<keyof typeof EXIT, string> = {
  ok: "everything that was asked for is there and verified",
  internal: "an internal fault, or the local disk failed",
  usage: "wrong options or configuration",
  partial: "some items failed, each one is listed",
  notFound: "there is no such file or directory",
  integrity: "what arrived does not match, or the peer broke the protocol",
  refused: "refused: authentication, ownership, a name or a feature",
  unreachable: "unreachable, or no progress in time",
  guard: "a guard stopped it",
  interrupted: "interrupted (SIGINT)",
  terminated: "terminated (SIGTERM)",
};

export interface ExitCode {
  readonly exit: number;
  readonly meaning: string;
  /** The `code` of an error in JSON that ends in this exit code. */
  readonly errorCodes: readonly string[];
}

/** The public table of exit codes, the same for every command. */
export const EXIT_CODES: readonly ExitCode[] = Object.entries(EXIT).map(([name, exit]) => ({
  exit,
  meaning: MEANINGS[name as keyof typeof EXIT],
  errorCodes: Object.entries(ERROR_CODES).flatMap(([code, traits]) => (traits.exit === exit ? [code] : [])),
}));
