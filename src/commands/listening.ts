import { listeningLine } from "../report/listening-line.ts";
import type { ServerSecurity } from "../transfer/security.ts";
import type { CommandIo } from "./command.ts";

/** A server's first line on stdout, and a loud word when it is open to more than this machine. */
export async function announce(
  bound: { address: string; port: number },
  json: boolean,
  io: CommandIo,
  consequence: string,
  security: ServerSecurity = { tokens: undefined, tls: undefined },
): Promise<void> {
  await io.out.text(listeningLine(bound, json));
  if (isLoopback(bound.address)) return;
  const { tokens, tls } = security;
  if (tokens === undefined && tls?.clientCa === undefined) {
    io.log.warn(`listening on ${bound.address} without a token: ${consequence} (--token-file)`);
  }
  if (tls === undefined) {
    const what = tokens === undefined ? "everything crosses" : "the tokens and everything else cross";
    io.log.warn(`listening on ${bound.address} without TLS: ${what} the network in the clear (--tls-cert)`);
  }
}

export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
