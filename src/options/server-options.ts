import { duration, integer, localPath, size } from "./option-type.ts";
import type { Problem } from "./problem.ts";

/** What every server of the dray protocol has, to be spread into its table: whom it lets in, and how many. */
export const SERVER_OPTIONS = {
  tokenFile: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description:
      "let in only clients that give a token of this file: one a line, SECRET or NAME:SECRET; lines that begin with # are comments. Read again on SIGHUP",
  },
  tlsCert: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description:
      "speak TLS with this certificate, and those between it and its authority (PEM). Read again on SIGHUP",
  },
  tlsKey: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "the private key of --tls-cert (PEM, without a passphrase)",
  },
  tlsClientCa: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "let in only clients with a certificate that one of these authorities has signed (PEM)",
  },
  maxConnections: {
    type: integer(1, 65_535),
    placeholder: "N",
    description: "serve at most this many connections at the same time",
    default: 1024,
  },
  maxPerAddress: {
    type: integer(1, 65_535),
    placeholder: "N",
    description: "and at most this many of one address; of IPv6, of one network of 64 bits",
    default: 512,
  },
  idleTimeoutMs: {
    name: "idleTimeout",
    type: duration(1_000, 86_400_000),
    placeholder: "TIME",
    description: "end connections that have asked for nothing for this long",
    default: 300_000,
  },
  minRate: {
    type: size(0, 2 ** 30),
    placeholder: "SIZE",
    description:
      "end connections that take less than this in a second of what waits for them, over a minute, or over ten minutes if they show that they are alive; 0: only those that stand still for the idle timeout",
    default: 1024,
  },
} as const;

interface ServerFiles {
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientCa: string | undefined;
}

/** For the `conflicts` of a table with SERVER_OPTIONS. */
export function serverConflicts({ tlsCert, tlsKey, tlsClientCa }: ServerFiles): Problem[] {
  const isTls = tlsCert !== undefined;
  if (isTls !== (tlsKey !== undefined))
    return [{ where: "--tls-cert, --tls-key", why: "are given together" }];
  if (isTls || tlsClientCa === undefined) return [];
  return [{ where: "--tls-client-ca", why: "needs --tls-cert and --tls-key" }];
}
