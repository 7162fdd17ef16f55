import { withContext } from "../errors/dray-error.ts";
import type { ClientSecurity, ServerSecurity } from "../transfer/security.ts";
import type { ServerSettings } from "../transfer/server.ts";
import type { TokenList } from "../transfer/tokens.ts";
import { readSecretFile } from "./secret-file.ts";
import { loadAuthorities, loadIdentity } from "./tls-files.ts";

/** What is needed of the log. */
export interface DoorLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** The values of SERVER_OPTIONS, and where to listen. */
export interface ServerDoorOptions {
  readonly bind: string;
  readonly port: number;
  readonly maxConnections: number;
  readonly maxPerAddress: number;
  readonly idleTimeoutMs: number;
  readonly minRate: number;
  readonly tokenFile: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientCa: string | undefined;
}

/** The values of CLIENT_OPTIONS. */
export interface ClientDoorOptions {
  readonly tokenFile: string | undefined;
  readonly tls: boolean;
  readonly tlsCa: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
}

/**
 * The settings of a server, from its options and the files that they name. From here on SIGHUP
 * reads the files again; connections that are open stay.
 * @throws DrayError "usage" when a file cannot be used
 */
export async function serverSettings(
  options: ServerDoorOptions,
  log: DoorLog,
): Promise<ServerSettings & { security: ServerSecurity }> {
  const { bind: address, port, maxConnections, maxPerAddress, idleTimeoutMs, minRate } = options;
  const load = (): Promise<ServerSecurity> => loadServerSecurity(options, log);
  const security = await load();
  const hasFiles = security.tokens !== undefined || security.tls !== undefined;
  if (hasFiles) onHangup("clients", log, async () => void Object.assign(security, await load()));
  return { address, port, maxConnections, maxPerAddress, idleTimeoutMs, minRate, security };
}

/**
 * How a client proves who it is, from its options and the files that they name.
 * @throws DrayError "usage" when a file cannot be used
 */
export async function clientSecurity(
  options: ClientDoorOptions,
  warn: (message: string) => void,
): Promise<ClientSecurity> {
  const { tokenFile, tls, tlsCa, tlsCert, tlsKey } = options;
  const token = tokenFile === undefined ? undefined : await loadClientToken(tokenFile, warn);
  if (!tls) return { token, tls: undefined };
  const ca = tlsCa === undefined ? undefined : await loadAuthorities(tlsCa);
  const hasIdentity = tlsCert !== undefined && tlsKey !== undefined;
  const identity = hasIdentity ? await loadIdentity(tlsCert, tlsKey, warn) : undefined;
  return { token, tls: { ca, identity } };
}

/**
 * Has `reload` run at each SIGHUP from here on. When it throws, that is logged, and all stays as it was.
 * @param whom for the log: "clients", "sources"
 */
export function onHangup(whom: string, log: DoorLog, reload: () => Promise<void>): void {
  process.on("SIGHUP", () => {
    reload().then(
      () => log.info(`tokens and certificates for ${whom} were read again`),
      (error: unknown) =>
        log.error(withContext(`The old tokens and certificates for ${whom} stay in use`, error).message),
    );
  });
}

async function loadServerSecurity(options: ServerDoorOptions, log: DoorLog): Promise<ServerSecurity> {
  const { tokenFile, tlsCert, tlsKey, tlsClientCa } = options;
  const warn = (message: string): void => log.warn(message);
  const tokens = tokenFile === undefined ? undefined : await loadTokens(tokenFile, warn);
  if (tlsCert === undefined || tlsKey === undefined) return { tokens, tls: undefined };
  const identity = await loadIdentity(tlsCert, tlsKey, warn);
  const clientCa = tlsClientCa === undefined ? undefined : await loadAuthorities(tlsClientCa);
  return { tokens, tls: { ...identity, clientCa } };
}

async function loadTokens(path: string, warn: (message: string) => void): Promise<TokenList> {
  const { TokenList } = await import("../transfer/tokens.ts");
  const { text, warnings } = readSecretFile(path, true);
  try {
    const tokens = new TokenList(text);
    for (const warning of [...warnings, ...tokens.warnings]) warn(`${path}: ${warning}`);
    return tokens;
  } catch (error) {
    throw withContext(`Cannot use ${path}`, error);
  }
}

async function loadClientToken(path: string, warn: (message: string) => void): Promise<Uint8Array> {
  const { parseClientToken } = await import("../transfer/tokens.ts");
  const { text, warnings } = readSecretFile(path, true);
  try {
    const parsed = parseClientToken(text);
    for (const warning of [...warnings, ...parsed.warnings]) warn(`${path}: ${warning}`);
    return parsed.token;
  } catch (error) {
    throw withContext(`Cannot use ${path}`, error);
  }
}
