import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { DrayError } from "../../src/errors/dray-error.ts";
import type { Connection } from "../../src/net/connection.ts";
import { dial } from "../../src/net/dial.ts";
import { listen } from "../../src/net/listener.ts";
import type { ClientTls, ServerTls } from "../../src/net/tls.ts";
import { rejectionOf } from "../property/error-code.ts";
import { Authority, type Issued } from "../support/certificates.ts";
import { Condition } from "../support/wait.ts";

let authority: Authority;
let stranger: Authority;
let host: Issued;
beforeAll(() => {
  authority = new Authority();
  stranger = new Authority("a stranger");
  host = authority.issue("host");
});
afterAll(() => {
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
});

const cleanUp: (() => void)[] = [];
afterEach(() => {
  for (const end of cleanUp.splice(0).reverse()) end();
});

/** All that a server was told of its clients, one after the other. */
class Told {
  readonly events: string[] = [];
  readonly #condition = new Condition();

  say(event: string): void {
    this.events.push(event);
    this.#condition.changed();
  }

  async until(event: string): Promise<void> {
    await this.#condition.until(
      () => (this.events.includes(event) ? true : undefined),
      () => `${event}; so far ${this.events.join(", ")}`,
    );
  }
}

/** @param tls changes count from the next connection on */
function serve(tls?: () => ServerTls): { port: number; told: Told } {
  const told = new Told();
  const accept = (connection: Connection): void => {
    connection.attach({
      data: (chunk) => {
        told.say(`data ${Buffer.from(chunk).toString()}`);
        connection.write(Buffer.from("answer"));
      },
      drained: () => {},
      ended: () => connection.finish(),
      untrusted: (error) => {
        told.say(`untrusted ${error.code}`);
        connection.write(Buffer.from(`no: ${error.message}`));
        connection.finish(error);
      },
      closed: (error) => told.say(`closed ${error?.code ?? "regularly"}`),
    });
  };
  const listener = listen("127.0.0.1", 0, accept, tls);
  cleanUp.push(() => listener.stop());
  return { port: listener.port, told };
}

const withHost = (issued: Issued, clientCa?: string): ServerTls => ({
  cert: issued.cert,
  key: issued.key,
  clientCa,
});
const believing = (ca: string, identity?: Issued): ClientTls => ({ ca, identity });

/** Connects, says something, and gives what comes back, or how it failed. */
async function ask(port: number, tls: ClientTls | undefined, hostName = "127.0.0.1"): Promise<string> {
  const answer = Promise.withResolvers<string>();
  answer.promise.catch(() => {});
  const connection = await dial(
    { host: hostName, port },
    5_000,
    (opened) => {
      opened.attach({
        data: (chunk) => answer.resolve(Buffer.from(chunk).toString()),
        drained: () => {},
        ended: () => answer.resolve("ended"),
        closed: (error) => answer.resolve(`closed ${error?.code}`),
      });
      opened.write(Buffer.from("question"));
      return opened;
    },
    tls,
  );
  cleanUp.push(() => connection.destroy());
  return answer.promise;
}

describe("a client goes on only if the server's certificate", () => {
  test("is signed by an authority that it believes, and is for its host", async () => {
    const { port } = serve(() => withHost(host));
    expect(await ask(port, believing(authority.ca))).toBe("answer");
    expect(await ask(port, believing(authority.ca), "localhost")).toBe("answer");
  });

  const bad: [string, () => Issued, () => ClientTls, RegExp][] = [
    [
      "is of a stranger",
      () => stranger.issue("host"),
      () => believing(authority.ca),
      /not signed by an authority/,
    ],
    [
      "is of no public authority",
      () => host,
      () => ({ ca: undefined, identity: undefined }),
      /not signed by/,
    ],
    [
      "is for another address",
      () => authority.issue("other", { hosts: "DNS:localhost,IP:127.0.0.9" }),
      () => believing(authority.ca),
      /another host/,
    ],
    [
      "has expired",
      () => authority.issue("old", { isExpired: true }),
      () => believing(authority.ca),
      /has expired/,
    ],
    [
      "is one of a client",
      () => authority.issue("client", { isClient: true }),
      () => believing(authority.ca),
      /not accepted/,
    ],
  ];
  test.each(bad)("not if it %s: says why at once, and has sent nothing", async (_, issue, tls, why) => {
    const issued = issue();
    const { port, told } = serve(() => withHost(issued));
    const error = await rejectionOf(ask(port, tls()));
    expect(error).toMatchObject({ code: "refused", retryable: false });
    expect(error?.message).toMatch(why);
    await told.until("closed closed");
    expect(told.events).toEqual(["closed closed"]);
  });
});

describe("a server that asks for certificates", () => {
  test("lets in a client with one of its authority", async () => {
    const { port, told } = serve(() => withHost(host, authority.ca));
    const client = authority.issue("client", { isClient: true });
    expect(await ask(port, believing(authority.ca, client))).toBe("answer");
    expect(told.events).toEqual(["data question"]);
  });

  const bad: [string, () => Issued | undefined, RegExp][] = [
    ["without one", () => undefined, /asks for a certificate/],
    ["with one of a stranger", () => stranger.issue("client", { isClient: true }), /not signed by/],
    [
      "with one that has expired",
      () => authority.issue("old", { isClient: true, isExpired: true }),
      /expired/,
    ],
    ["with one of a server", () => host, /another purpose/],
  ];
  test.each(bad)("tells a client %s why it is not let in, and hears nothing of it", async (_, issue, why) => {
    const { port, told } = serve(() => withHost(host, authority.ca));
    expect(await ask(port, believing(authority.ca, issue()))).toMatch(why);
    expect(told.events.filter((event) => event.startsWith("data"))).toEqual([]);
    expect(told.events[0]).toBe("untrusted unauthorized");
  });

  test("takes a new authority and a new certificate with the next connection; open ones stay", async () => {
    let current = withHost(host, authority.ca);
    const { port, told } = serve(() => current);
    const client = authority.issue("client", { isClient: true });
    const early = await dial(
      { host: "127.0.0.1", port },
      5_000,
      (connection) => {
        connection.attach({ data: () => {}, drained: () => {}, ended: () => {}, closed: () => {} });
        return connection;
      },
      believing(authority.ca, client),
    );
    cleanUp.push(() => early.destroy());
    current = withHost(stranger.issue("host"), stranger.ca);
    expect(await rejectionOf(ask(port, believing(authority.ca, client)))).toMatchObject({ code: "refused" });
    expect(await ask(port, believing(stranger.ca, client))).toMatch(/not signed by/);
    const other = stranger.issue("client", { isClient: true });
    expect(await ask(port, believing(stranger.ca, other))).toBe("answer");
    early.write(Buffer.from("still here"));
    await told.until("data still here");
  });
});

describe("without the other side's TLS", () => {
  const closed = Promise.withResolvers<void>();
  const plain = (answer: string | undefined): number => {
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data: (socket) => void (answer === undefined ? undefined : socket.end(answer)),
        close: () => (answer === undefined ? closed.resolve() : undefined),
      },
    });
    cleanUp.push(() => listener.stop(true));
    return listener.port;
  };

  test("a client is told so", async () => {
    const port = plain("HTTP/1.1 400 Bad Request\r\n\r\n");
    const error = await rejectionOf(ask(port, believing(authority.ca)));
    expect(error).toMatchObject({ code: "protocol", message: "the peer does not speak TLS on this port" });
  });

  test("a client that gets no answer at all gives up in time, and closes", async () => {
    const dialled = dial(
      { host: "127.0.0.1", port: plain(undefined) },
      200,
      () => {},
      believing(authority.ca),
    );
    expect(await rejectionOf(dialled)).toMatchObject({ code: "timeout" });
    await closed.promise;
  });

  test("a client whose handshake is cut may try again", async () => {
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.terminate() },
    });
    cleanUp.push(() => listener.stop(true));
    const error: DrayError | undefined = await rejectionOf(ask(listener.port, believing(authority.ca)));
    expect(error).toMatchObject({ retryable: true });
  });

  test("a server says so, and an alert to the client", async () => {
    const { port, told } = serve(() => withHost(host));
    expect((await ask(port, undefined)).charCodeAt(0)).toBe(21);
    await told.until("closed protocol");
    expect(told.events).toEqual(["closed protocol"]);
  });
});
