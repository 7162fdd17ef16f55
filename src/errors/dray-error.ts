import { ERROR_CODES, type ErrorCode } from "./codes.ts";

/**
 * The one error family. `message` says what failed, where and why in a full sentence without a
 * final stop, so that callers can add what happens next.
 */
export class DrayError extends Error {
  readonly code: ErrorCode;
  /** The earliest moment at which trying again makes sense, in milliseconds from now; 0 if unknown. */
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DrayError";
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }

  /** Whether the same request can succeed later without anybody changing anything. */
  get retryable(): boolean {
    return ERROR_CODES[this.code].retry;
  }

  get exitCode(): number {
    return ERROR_CODES[this.code].exit;
  }
}

/** The same error, its message led by what was being done: "Cannot fetch a.txt: " + why. */
export function withContext(context: string, error: unknown): DrayError {
  const known = asDrayError(error);
  return new DrayError(known.code, `${context}: ${known.message}`, {
    cause: known.cause ?? error,
    retryAfterMs: known.retryAfterMs,
  });
}

/** Anything thrown, as a DrayError: system errors keep their meaning, the rest is internal. */
export function asDrayError(error: unknown): DrayError {
  if (error instanceof DrayError) return error;
  const system = systemErrorCode(error);
  if (system !== undefined)
    return new DrayError(codeOfSystemError(system), describeSystemError(system), { cause: error });
  return new DrayError("internal", error instanceof Error ? error.message : String(error), { cause: error });
}

/** Whether the thrown thing says that something is not there. */
export function isNotFound(error: unknown): boolean {
  return asDrayError(error).code === "not-found";
}

/** `ENOENT` and its kin, if the thrown thing carries one. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" && /^E[A-Z0-9_]+$/.test(error.code) ? error.code : undefined;
}

const SYSTEM_ERRORS: Record<string, { code: ErrorCode; text: string }> = {
  ENOENT: { code: "not-found", text: "no such file or directory" },
  ENOTDIR: { code: "refused", text: "something on the path is not a directory" },
  EISDIR: { code: "refused", text: "it is a directory" },
  ELOOP: { code: "refused", text: "it is a symbolic link" },
  EACCES: { code: "refused", text: "permission denied" },
  EPERM: { code: "refused", text: "operation not permitted" },
  EROFS: { code: "refused", text: "the file system is read-only" },
  ENAMETOOLONG: { code: "name", text: "the name is too long for the file system" },
  EILSEQ: { code: "name", text: "the file system does not take this name" },
  ENOSPC: { code: "no-space", text: "no space left on the device" },
  EDQUOT: { code: "no-space", text: "the disk quota is used up" },
  EIO: { code: "storage", text: "the device failed (input/output error)" },
  EMFILE: { code: "busy", text: "too many open files in this process" },
  ENFILE: { code: "busy", text: "too many open files on this system" },
  EADDRINUSE: { code: "usage", text: "the port is already in use" },
  EADDRNOTAVAIL: { code: "usage", text: "the address is not one of this machine's" },
  ECONNREFUSED: { code: "unreachable", text: "connection refused (is the server running?)" },
  ECONNRESET: { code: "closed", text: "the peer reset the connection" },
  EPIPE: { code: "closed", text: "the peer closed the connection" },
  EHOSTUNREACH: { code: "unreachable", text: "no route to the host" },
  ENETUNREACH: { code: "unreachable", text: "the network is unreachable" },
  ETIMEDOUT: { code: "timeout", text: "the connection timed out" },
  ENOTFOUND: { code: "unreachable", text: "the host name is not known" },
  EAI_AGAIN: { code: "unreachable", text: "the host name could not be looked up" },
};

function codeOfSystemError(system: string): ErrorCode {
  return SYSTEM_ERRORS[system]?.code ?? "storage";
}

function describeSystemError(system: string): string {
  const known = SYSTEM_ERRORS[system];
  return known === undefined ? `system error ${system}` : known.text;
}
