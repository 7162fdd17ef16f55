import { DrayError, asDrayError } from "../errors/dray-error.ts";
import type { TlsIdentity } from "../net/tls.ts";
import { readSecretFile } from "./secret-file.ts";

/**
 * A certificate and its key, tried out.
 * @param warn told what somebody should know
 * @throws DrayError "usage"
 */
export async function loadIdentity(
  certPath: string,
  keyPath: string,
  warn: (message: string) => void,
): Promise<TlsIdentity> {
  const cert = readCertificates(certPath);
  const { text: key, warnings } = readSecretFile(keyPath, true);
  for (const warning of warnings) warn(`${keyPath}: ${warning}`);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(key))
    throw unusable(keyPath, "it holds no private key in PEM");
  if (/-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED/.test(key))
    throw unusable(keyPath, "the key has a passphrase");
  const { createSecureContext } = await import("node:tls");
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw unusable(`${certPath} with ${keyPath}`, describe(error));
  }
  const { X509Certificate } = await import("node:crypto");
  const { validToDate } = new X509Certificate(cert);
  if (validToDate.getTime() < Date.now())
    warn(`${certPath}: the certificate has expired (${validToDate.toISOString()})`);
  return { cert, key };
}

/**
 * Authorities, tried out.
 * @throws DrayError "usage": an empty list would otherwise stand for the public authorities
 */
export async function loadAuthorities(path: string): Promise<string> {
  const ca = readCertificates(path);
  const { createSecureContext } = await import("node:tls");
  try {
    createSecureContext({ ca });
  } catch (error) {
    throw unusable(path, describe(error));
  }
  return ca;
}

function readCertificates(path: string): string {
  const { text } = readSecretFile(path, false);
  if (!/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/.test(text))
    throw unusable(path, "it holds no certificate in PEM");
  return text;
}

function unusable(path: string, why: string): DrayError {
  return new DrayError("usage", `Cannot use ${path}: ${why}`);
}

/** The library's own words say where in the library, which helps nobody. */
function describe(error: unknown): string {
  const { message } = asDrayError(error);
  const text = error instanceof Error ? error.message : message;
  if (text.includes("KEY_VALUES_MISMATCH")) return "the key does not belong to the certificate";
  const reason = /:OPENSSL_internal:(\w+)/.exec(text)?.[1];
  return reason === undefined
    ? "it is damaged"
    : `it is damaged (${reason.toLowerCase().replaceAll("_", " ")})`;
}
