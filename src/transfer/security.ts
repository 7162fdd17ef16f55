import type { ClientTls, ServerTls } from "../net/tls.ts";
import type { TokenList } from "./tokens.ts";

/**
 * Whom a server lets in. The server looks at it for each connection anew, so its owner may replace
 * what is in it; whether there is TLS at all is decided when the server starts.
 */
export interface ServerSecurity {
  /** Undefined: everybody. */
  tokens: TokenList | undefined;
  /** Undefined: plain TCP. */
  tls: ServerTls | undefined;
}

/** How a client proves who it is, and has the server prove it. Plain data: it crosses to pool threads. */
export interface ClientSecurity {
  /** What HELLO carries. */
  token: Uint8Array | undefined;
  /** Undefined: plain TCP. */
  tls: ClientTls | undefined;
}
