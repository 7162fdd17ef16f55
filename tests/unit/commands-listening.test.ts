import { expect, test } from "bun:test";
import type { CommandIo } from "../../src/commands/command.ts";
import { announce } from "../../src/commands/listening.ts";
import type { ServerSecurity } from "../../src/transfer/security.ts";
import { TokenList } from "../../src/transfer/tokens.ts";

const tokens = new TokenList("a secret that is long enough");
const tls = { cert: "", key: "", clientCa: undefined };
const mutual = { ...tls, clientCa: "" };

const OPEN = /without a token: everybody can read it/;
const CLEAR = /without TLS: .* cross(es)? the network in the clear/;

const cases: [string, string, ServerSecurity, RegExp[]][] = [
  ["loopback, open", "127.0.0.1", { tokens: undefined, tls: undefined }, []],
  ["IPv6 loopback, open", "::1", { tokens: undefined, tls: undefined }, []],
  ["everywhere, open", "0.0.0.0", { tokens: undefined, tls: undefined }, [OPEN, CLEAR]],
  ["everywhere, open, IPv6", "::", { tokens: undefined, tls: undefined }, [OPEN, CLEAR]],
  ["with tokens", "192.0.2.1", { tokens, tls: undefined }, [CLEAR]],
  ["with TLS", "192.0.2.1", { tokens: undefined, tls }, [OPEN]],
  ["with TLS of both sides", "192.0.2.1", { tokens: undefined, tls: mutual }, []],
  ["with both", "192.0.2.1", { tokens, tls }, []],
];
test.each(cases)(
  "a server that listens on %s warns of what is open",
  async (_, address, security, warnings) => {
    const [said, warned]: [string[], string[]] = [[], []];
    const io = {
      out: { text: async (text: string) => void said.push(text) },
      log: { warn: (text: string) => void warned.push(text) },
    } as unknown as CommandIo;
    await announce({ address, port: 9000 }, true, io, "everybody can read it", security);
    expect(said).toEqual([`${JSON.stringify({ type: "listening", address, port: 9000 })}\n`]);
    expect(warned).toEqual(warnings.map((pattern) => expect.stringMatching(pattern)));
  },
);
