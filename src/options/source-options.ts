import { tlsConflicts } from "./client-options.ts";
import { localPath, toggle } from "./option-type.ts";
import type { Problem } from "./problem.ts";

/** How the mirror speaks with its sources. */
export const SOURCE_OPTIONS = {
  sourceTokenFile: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description:
      "give the token in this file to every source that an order names: one line, as it stands in the sources' files. Read again on SIGHUP",
  },
  sourceTls: {
    type: toggle(),
    description:
      "speak TLS with the sources, and go on only if a source's certificate is good and for its host",
    default: false,
  },
  sourceTlsCa: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description:
      "believe sources whose certificates one of these authorities has signed (PEM), instead of the public ones that dray brings along",
  },
  sourceTlsCert: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "show this certificate to sources that ask for one (PEM)",
  },
  sourceTlsKey: {
    type: localPath(),
    optional: true,
    placeholder: "FILE",
    description: "the private key of --source-tls-cert (PEM, without a passphrase)",
  },
} as const;

interface SourceFiles {
  readonly sourceTls: boolean;
  readonly sourceTlsCa: string | undefined;
  readonly sourceTlsCert: string | undefined;
  readonly sourceTlsKey: string | undefined;
}

export function sourceConflicts(values: SourceFiles): Problem[] {
  const { sourceTls: tls, sourceTlsCa: ca, sourceTlsCert: cert, sourceTlsKey: key } = values;
  return tlsConflicts({ prefix: "source-", tls, ca, cert, key });
}
