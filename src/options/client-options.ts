import { localPath, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";

/** What every client of the dray protocol has, to be spread into its table: who it is, and whom it believes. */
export const CLIENT_OPTIONS = {
  tokenFile: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "give the server the token in this file: one line, as it stands in the server's file",
  },
  tls: {
    type: toggle(),
    description: "speak TLS, and go on only if the server's certificate is good and for its host",
    default: false,
  },
  tlsCa: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description:
      "believe certificates that one of these authorities has signed (PEM), instead of the public ones that dray brings along",
  },
  tlsCert: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "show this certificate to a server that asks for one (PEM)",
  },
  tlsKey: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "the private key of --tls-cert (PEM, without a passphrase)",
  },
} as const;

/** Where a client's options stand, and what they hold. */
interface TlsFlags {
  /** "" or "source-". */
  readonly prefix: string;
  readonly tls: boolean;
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

interface ClientFiles {
  readonly tls: boolean;
  readonly tlsCa: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
}

/** For the `conflicts` of a table with CLIENT_OPTIONS. */
export function clientConflicts({ tls, tlsCa, tlsCert, tlsKey }: ClientFiles): Problem[] {
  return tlsConflicts({ prefix: "", tls, ca: tlsCa, cert: tlsCert, key: tlsKey });
}

/** What does not go together. Without `--tls` the rest is a mistake: nobody asks for an authority and wants no TLS. */
export function tlsConflicts({ prefix, tls, ca, cert, key }: TlsFlags): Problem[] {
  const problems: Problem[] = [];
  if ((cert === undefined) !== (key === undefined)) {
    problems.push({ where: `--${prefix}tls-cert, --${prefix}tls-key`, why: "are given together" });
  }
  const given = [
    ...(ca === undefined ? [] : [`--${prefix}tls-ca`]),
    ...(cert === undefined ? [] : [`--${prefix}tls-cert`]),
  ];
  if (!tls && given.length > 0) problems.push({ where: given.join(", "), why: `needs --${prefix}tls` });
  return problems;
}
