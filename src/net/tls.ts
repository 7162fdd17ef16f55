import type { Socket } from "bun";
import { DrayError, asDrayError } from "../errors/dray-error.ts";

/** A certificate, with those between it and its authority behind it, and its private key: PEM texts. */
export interface TlsIdentity {
  cert: string;
  key: string;
}

export interface ServerTls extends TlsIdentity {
  /** The authorities, as PEM, one of which must have signed a client's certificate; undefined: none is asked for. */
  clientCa: string | undefined;
}

/** Plain data: it crosses to pool threads. */
export interface ClientTls {
  /** The authorities, as PEM, that may sign a server's certificate; undefined: those that dray brings along. */
  ca: string | undefined;
  /** For servers that ask for a certificate. */
  identity: TlsIdentity | undefined;
}

/** The options of Bun for a server's side. Who the client is we check ourselves, to be able to tell it. */
export function serverTlsOptions({ cert, key, clientCa }: ServerTls): Bun.TLSOptions {
  if (clientCa === undefined) return { cert, key };
  return { cert, key, ca: clientCa, requestCert: true, rejectUnauthorized: false };
}

/** The options of Bun for a client's side: chain, dates, purpose and the host's name or address are checked. */
export function clientTlsOptions({ ca, identity }: ClientTls): Bun.TLSOptions {
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(identity === undefined ? {} : { cert: identity.cert, key: identity.key }),
  };
}

/** Why a client is not let in after a handshake; undefined if its certificate is as it should be. */
export function clientProblem(socket: Socket<unknown>): DrayError | undefined {
  if (socket.authorized) return undefined;
  const hasCertificate = Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
  const why = hasCertificate
    ? `the client's certificate is not accepted here: ${describe(socket.getAuthorizationError())}`
    : "this server asks for a certificate of the client (--tls-cert and --tls-key)";
  return new DrayError("unauthorized", why);
}

/**
 * Why a handshake failed.
 * @param error as Bun gives it: of the certificate check, of the TLS library, or of the system
 */
export function tlsError(error: unknown): DrayError {
  const code = codeOf(error);
  if (code === "ECONNRESET" || error === null || error === undefined) {
    return new DrayError("closed", "the connection ended during the TLS handshake", { cause: error });
  }
  if (CERTIFICATE_CODES.test(code)) {
    const why = `the server's certificate is not accepted: ${describe(error)}`;
    return new DrayError("refused", why, { cause: error });
  }
  return socketError(error);
}

/** What a socket reports when its handshake is over, or it has none. */
export function socketError(error: unknown): DrayError {
  const text = error instanceof Error ? error.message : String(error);
  return text.includes(":SSL routines:") ? libraryError(text, error) : asDrayError(error);
}

const CERTIFICATE_CODES = /CERT|ISSUER|SIGNATURE|CHAIN|PURPOSE|CRL|_CA\b|ERR_TLS|PATH_LENGTH|HOSTNAME/;

function libraryError(text: string, cause: unknown): DrayError {
  const reason = /:OPENSSL_internal:(\w+)/.exec(text)?.[1] ?? "UNKNOWN";
  if (
    /^(WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST|UNEXPECTED_MESSAGE|UNEXPECTED_RECORD)$/.test(
      reason,
    )
  ) {
    return new DrayError("protocol", "the peer does not speak TLS on this port", { cause });
  }
  if (/ALERT_CERTIFICATE_REQUIRED$|ALERT_BAD_CERTIFICATE$/.test(reason)) {
    const why = "the peer asks for a certificate that it accepts (--tls-cert and --tls-key)";
    return new DrayError("unauthorized", why, { cause });
  }
  if (/ALERT_UNKNOWN_CA$|ALERT_CERTIFICATE_(EXPIRED|UNKNOWN|REVOKED)$/.test(reason)) {
    return new DrayError("unauthorized", "the peer does not accept our certificate", { cause });
  }
  const shown = reason.toLowerCase().replaceAll("_", " ");
  return new DrayError("protocol", `TLS failed (${shown})`, { cause });
}

function describe(error: unknown): string {
  const code = codeOf(error);
  switch (code) {
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "it is not signed by an authority that is trusted here";
    case "CERT_HAS_EXPIRED":
      return "it has expired";
    case "CERT_NOT_YET_VALID":
      return "it is not valid yet";
    case "INVALID_PURPOSE":
      return "it is for another purpose";
    case "CERT_REVOKED":
      return "it was revoked";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "it is for another host";
    default:
      return code === "" ? "it could not be checked" : code.toLowerCase().replaceAll("_", " ");
  }
}

function codeOf(error: unknown): string {
  const hasCode = typeof error === "object" && error !== null && "code" in error;
  return hasCode && typeof error.code === "string" ? error.code : "";
}
