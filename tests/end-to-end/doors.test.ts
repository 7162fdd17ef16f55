import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { Authority, type Issued } from "../support/certificates.ts";
import { diffTrees } from "../support/diff.ts";
import { IndependentClient, ServerError } from "../support/independent-client.ts";
import type { Program } from "../support/program.ts";
import { endStartedPrograms, runDray, startDray } from "../support/process.ts";
import { sourceText } from "../support/stage.ts";
import { tempFolder } from "../support/temp.ts";
import { makeLargeFile, makeManyFiles } from "../support/tree.ts";
import { FRAME, hello, readFrame } from "../support/wire-bytes.ts";

setDefaultTimeout(60_000);

const UNAUTHORIZED = 8;
const BUSY = 12;
const ALICE = "alice:0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const BOB = "bob:ffeeddccbbaa99887766554433221100";

const folder = tempFolder();
const tree = folder.join("tree");
let authority: Authority;
let stranger: Authority;
let host: Issued;
let client: Issued;

beforeAll(() => {
  mkdirSync(tree);
  makeManyFiles(tree, { seed: 41, count: 200, directories: 5, minBytes: 0, maxBytes: 50_000 });
  makeLargeFile(`${tree}/large.bin`, { seed: 42, sizeBytes: 12_345_678 });
  authority = new Authority();
  stranger = new Authority("a stranger");
  host = authority.issue("host");
  client = authority.issue("client", { isClient: true });
});
afterAll(() => {
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
  folder[Symbol.dispose]();
});
afterEach(endStartedPrograms);

let files = 0;
function secretFile(text: string): string {
  const path = folder.join(`secret-${++files}`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const serverTls = (): string[] => ["--tls-cert", host.certPath, "--tls-key", host.keyPath];
const clientTls = (): string[] => ["--tls", "--tls-ca", authority.caPath];

async function startServer(args: string[]): Promise<{ program: Program; port: number }> {
  const program = startDray([...args, "-p", "0", "--json"]);
  return { program, port: (await program.listening()).port };
}

const startContent = (flags: string[]): Promise<{ program: Program; port: number }> =>
  startServer(["content", "-d", tree, ...flags]);

function startMirror(flags: string[]): Promise<{ program: Program; port: number }> {
  return startServer(["mirror", "-m", folder.join(`mirror-${++files}`), ...flags]);
}

const initiate = (port: number, flags: string[]): ReturnType<typeof runDray> =>
  runDray(["initiate", "-p", String(port), "--json", ...flags]);

async function codeOf(promise: Promise<unknown>): Promise<number | undefined> {
  return promise.then(
    () => undefined,
    (error: unknown) => (error instanceof ServerError ? error.code : -1),
  );
}

describe("tokens", () => {
  test("open mirror and source to those who have one, and never show in what anybody prints", async () => {
    const tokens = secretFile(`# people\n${ALICE}\n\n${BOB}\n`);
    const [alice, wrong] = [secretFile(`${ALICE}\n`), secretFile(`${ALICE}1`)];
    const content = await startContent(["--token-file", tokens, "--log-level", "debug"]);
    const mirrorDirectory = folder.join("tokens");
    const mirror = await startServer([
      ...["mirror", "-m", mirrorDirectory, "--token-file", tokens, "--source-token-file", alice],
      ...["--log-level", "debug"],
    ]);
    const source = ["-s", sourceText(content)];
    const said: string[] = [];
    for (const flags of [[], ["--token-file", wrong]]) {
      const refused = await initiate(mirror.port, [...source, ...flags]);
      expect(refused.code).toBe(6);
      expect(refused.events.map(({ type, code }) => [type, code])).toEqual([["error", "unauthorized"]]);
      said.push(refused.stdout, refused.stderr);
    }
    const taken = await initiate(mirror.port, [...source, "--token-file", alice, "--log-level", "debug"]);
    expect(taken.code).toBe(0);
    expect(await diffTrees(tree, `${mirrorDirectory}/127.0.0.1_${content.port}`)).toEqual([]);
    const printed = await runDray([
      "initiate",
      "-p",
      "1",
      ...source,
      "--token-file",
      alice,
      "--print-config",
    ]);
    expect(printed.stdout).toContain(alice);
    for (const program of [content.program, mirror.program])
      said.push(program.stdoutText(), program.stderrText());
    said.push(taken.stdout, taken.stderr, printed.stdout, printed.stderr);
    for (const token of [ALICE, BOB]) expect(said.join("\n")).not.toContain(token.split(":")[1]!);
  });

  test("that a mirror lacks for a source end the order there, with exit code 6", async () => {
    const content = await startContent(["--token-file", secretFile(ALICE)]);
    const mirror = await startMirror([]);
    const { code, events } = await initiate(mirror.port, ["-s", sourceText(content)]);
    expect(code).toBe(6);
    expect(events.at(-1)?.["sources"]).toMatchObject([{ status: "refused", files: 0, bytes: 0 }]);
  });

  test("that are missing or wrong get no byte of content", async () => {
    const { port } = await startContent(["--token-file", secretFile(ALICE)]);
    for (const token of ["", BOB, ALICE.slice(0, -1)]) {
      expect(await codeOf(IndependentClient.connect(port, [1, 1], { token }))).toBe(UNAUTHORIZED);
    }
    await using eager = await IndependentClient.connectSilently(port);
    eager.sendBytes(hello());
    eager.requestFile("large.bin");
    expect(await codeOf(eager.nextFrame())).toBe(UNAUTHORIZED);
    expect(await eager.frames.next()).toMatchObject({ done: true });
    await using good = await IndependentClient.connect(port, [1, 1], { token: ALICE });
    expect((await good.receiveFile(good.requestFile("large.bin"))).size).toBe(12_345_678);
  });
});

test("a source at its limit gives all that it has, and has its places back when the order is over", async () => {
  const content = await startContent(["--max-per-address", "2"]);
  const mirrorDirectory = folder.join("busy");
  const mirror = await startServer(["mirror", "-m", mirrorDirectory, "-w", "8"]);
  for (let order = 0; order < 6; order++) {
    rmSync(mirrorDirectory + "/127.0.0.1_" + content.port, { recursive: true, force: true });
    const { code } = await initiate(mirror.port, ["-s", sourceText(content)]);
    expect(code).toBe(0);
    expect(await diffTrees(tree, `${mirrorDirectory}/127.0.0.1_${content.port}`)).toEqual([]);
  }
  const clients = await Promise.all([1, 2].map(() => connectWhenThereIsRoom(content.port)));
  for (const client of clients) await client[Symbol.asyncDispose]();
});

/** The mirror hangs up when its order is over, and not before it has said so. */
async function connectWhenThereIsRoom(port: number): Promise<IndependentClient> {
  for (;;) {
    try {
      return await IndependentClient.connect(port);
    } catch (error) {
      if (!(error instanceof ServerError) || error.code !== BUSY) throw error;
      await Bun.sleep(5);
    }
  }
}

describe("TLS", () => {
  test("with certificates of both sides carries an order and its files", async () => {
    const asked = ["--tls-client-ca", authority.caPath];
    const shown = (prefix: string): string[] => [
      ...[`--${prefix}tls`, `--${prefix}tls-ca`, authority.caPath],
      ...[`--${prefix}tls-cert`, client.certPath, `--${prefix}tls-key`, client.keyPath],
    ];
    const content = await startContent([...serverTls(), ...asked]);
    const mirrorDirectory = folder.join("mutual");
    const mirror = await startServer([
      "mirror",
      "-m",
      mirrorDirectory,
      ...serverTls(),
      ...asked,
      ...shown("source-"),
    ]);
    const source = ["-s", sourceText(content)];
    const refused = await initiate(mirror.port, [...source, ...clientTls()]);
    expect(refused.code).toBe(6);
    expect(refused.stderr).toContain("this server asks for a certificate of the client");
    const { code } = await initiate(mirror.port, [...source, ...shown("")]);
    expect(code).toBe(0);
    expect(await diffTrees(tree, `${mirrorDirectory}/127.0.0.1_${content.port}`)).toEqual([]);
  });

  test("is refused by a client that does not believe the certificate", async () => {
    const mirror = await startMirror(serverTls());
    const refused = await initiate(mirror.port, ["--list", "--tls", "--tls-ca", stranger.caPath]);
    expect(refused.code).toBe(6);
    expect(refused.stderr).toContain("it is not signed by an authority that is trusted here");
  });

  test("on one side only is said at once, by both", async () => {
    const [secure, plain] = [await startMirror(serverTls()), await startMirror([])];
    const toSecure = await initiate(secure.port, ["--list"]);
    expect(toSecure.code).toBe(5);
    expect(toSecure.stderr).toContain("the peer speaks TLS here, and we do not (--tls for clients)");
    const toPlain = await initiate(plain.port, ["--list", ...clientTls()]);
    expect(toPlain.code).toBe(5);
    expect(toPlain.stderr).toContain("the peer does not speak TLS on this port");
    await plain.program.stderrMatch(/the peer speaks TLS here, and we do not/);
    await secure.program.stderrMatch(/the peer does not speak TLS on this port/);
  });

  /** What a server answers first to the HELLO of `openssl s_client`; nothing if there is no connection. */
  async function answerToOpenssl(port: number, flags: string[]): Promise<ReturnType<typeof readFrame>> {
    const to = ["-CAfile", authority.caPath, "-connect", `127.0.0.1:${port}`];
    const checks = ["-verify_return_error", "-verify_ip", "127.0.0.1"];
    const openssl = Bun.spawn(["openssl", "s_client", "-quiet", ...checks, ...to, ...flags], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "ignore",
    });
    void openssl.stdin.write(hello());
    await openssl.stdin.flush();
    const chunks: Uint8Array[] = [];
    for await (const chunk of openssl.stdout) {
      chunks.push(chunk);
      if (readFrame(Buffer.concat(chunks)) !== undefined) break;
    }
    openssl.kill();
    await openssl.exited;
    return readFrame(Buffer.concat(chunks));
  }

  test("of openssl works, in the versions that are still good", async () => {
    const { port } = await startContent(serverTls());
    for (const version of ["-tls1_2", "-tls1_3"]) {
      const answer = await answerToOpenssl(port, [version]);
      expect(answer?.type).toBe(FRAME.welcome);
      expect(answer?.payload.toString("latin1", 0, 4)).toBe("DRAY");
    }
    expect(await answerToOpenssl(port, ["-tls1_1"])).toBeUndefined();
  });

  test.each(["-tls1_2", "-tls1_3"])(
    "with %s resumes no session of a client whose authority is out",
    async (version) => {
      const clientCa = secretFile(authority.ca);
      const { program, port } = await startContent([...serverTls(), "--tls-client-ca", clientCa]);
      const session = folder.join(`session${version}`);
      const shown = ["-cert", client.certPath, "-key", client.keyPath, "-sess_out", session];
      expect((await answerToOpenssl(port, [version, ...shown]))?.type).toBe(FRAME.welcome);
      // Without the certificate this works only because the session is resumed.
      expect((await answerToOpenssl(port, [version, "-sess_in", session]))?.type).toBe(FRAME.welcome);
      writeFileSync(clientCa, stranger.ca);
      program.kill("SIGHUP");
      await program.stderrMatch(/were read again/);
      const refused = await answerToOpenssl(port, [version, "-sess_in", session]);
      expect([refused?.type, refused?.payload.readUInt16LE(0)]).toEqual([FRAME.error, UNAUTHORIZED]);
    },
  );

  test("of openssl as a server that says nothing times out, and one with another's certificate is refused", async () => {
    const listen = async (issued: Issued): Promise<{ port: number } & AsyncDisposable> => {
      const args = ["-accept", "127.0.0.1:0", "-cert", issued.certPath, "-key", issued.keyPath];
      const openssl = Bun.spawn(["openssl", "s_server", ...args], {
        stdin: "pipe",
        stdout: "pipe",
        stderr: "ignore",
      });
      let said = "";
      for await (const chunk of openssl.stdout) {
        said += Buffer.from(chunk).toString();
        if (/ACCEPT.*:\d+\n/.test(said)) break;
      }
      const port = Number(/ACCEPT.*:(\d+)\n/.exec(said)?.[1]);
      return {
        port,
        [Symbol.asyncDispose]: async () => {
          openssl.kill();
          await openssl.exited;
        },
      };
    };
    await using silent = await listen(host);
    const { code, stderr } = await initiate(silent.port, ["--list", ...clientTls(), "--timeout", "1s"]);
    expect([code, stderr]).toEqual([7, expect.stringContaining("silent")]);
    await using imposter = await listen(authority.issue("other", { hosts: "DNS:other.example" }));
    const refused = await initiate(imposter.port, ["--list", ...clientTls()]);
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining("it is for another host")]);
  });
});

describe("SIGHUP", () => {
  test.each(["content", "fileserve"])("finds a relative path where %s was started", async (command) => {
    const name = basename(secretFile(ALICE));
    const served =
      command === "content" ? ["content", "-p", "0", "-d", "tree"] : ["fileserve", "127.0.0.1", "0", "tree"];
    const program = startDray([...served, "--token-file", name, "--json"], { cwd: folder.path });
    const { port } = await program.listening();
    writeFileSync(folder.join(name), BOB);
    program.kill("SIGHUP");
    await program.stderrMatch(/tokens and certificates for clients were read again/);
    await using bob = await IndependentClient.connect(port, [1, 1], { token: BOB });
    expect((await bob.receiveFile(bob.requestFile("large.bin"))).size).toBe(12_345_678);
  });

  test("takes new tokens and certificates, and leaves open connections alone", async () => {
    const tokens = secretFile(ALICE);
    const [certPath, keyPath] = [secretFile(host.cert), secretFile(host.key)];
    const flags = ["--token-file", tokens, "--tls-cert", certPath, "--tls-key", keyPath];
    const { program, port } = await startContent(flags);
    const tls = { ca: authority.ca };
    await using early = await IndependentClient.connect(port, [1, 1], { token: ALICE, tls });
    const delayed = early.requestFile("large.bin", { delayMs: 1_500 });

    const renewed = stranger.issue("host");
    writeFileSync(tokens, BOB);
    writeFileSync(certPath, renewed.cert);
    writeFileSync(keyPath, renewed.key);
    program.kill("SIGHUP");
    await program.stderrMatch(/tokens and certificates for clients were read again/);

    const byBob = { token: BOB, tls: { ca: stranger.ca } };
    await using bob = await IndependentClient.connect(port, [1, 1], byBob);
    expect((await bob.receiveFile(bob.requestFile("large.bin"))).size).toBe(12_345_678);
    const byAlice = { token: ALICE, tls: { ca: stranger.ca } };
    expect(await codeOf(IndependentClient.connect(port, [1, 1], byAlice))).toBe(UNAUTHORIZED);
    expect(IndependentClient.connect(port, [1, 1], { token: BOB, tls })).rejects.toThrow(/certificate/);
    expect((await early.receiveFile(delayed)).size).toBe(12_345_678);
  });

  const bad: [string, () => string, () => string, RegExp][] = [
    ["no token", () => "# nobody\n", () => host.key, /it holds no token/],
    [
      "a key of another certificate",
      () => BOB,
      () => client.key,
      /the key does not belong to the certificate/,
    ],
    ["no key", () => BOB, () => "nothing", /it holds no private key in PEM/],
  ];
  test.each(bad)("with a file of %s changes nothing, and says so", async (_, tokenText, keyText, why) => {
    const [tokens, keyPath] = [secretFile(ALICE), secretFile(host.key)];
    const flags = ["--token-file", tokens, "--tls-cert", host.certPath, "--tls-key", keyPath];
    const { program, port } = await startContent(flags);
    writeFileSync(tokens, tokenText());
    writeFileSync(keyPath, keyText());
    program.kill("SIGHUP");
    await program.stderrMatch(
      new RegExp(`The old tokens and certificates for clients stay in use: .*${why.source}`),
    );
    const tls = { ca: authority.ca };
    await using alice = await IndependentClient.connect(port, [1, 1], { token: ALICE, tls });
    expect((await alice.list(".")).length).toBeGreaterThan(200);
    expect(await codeOf(IndependentClient.connect(port, [1, 1], { token: BOB, tls }))).toBe(UNAUTHORIZED);
  });

  test("gives a mirror's lanes and managers the new token for its sources", async () => {
    const [tokens, ours] = [secretFile(ALICE), secretFile(BOB)];
    const content = await startContent(["--token-file", tokens]);
    const mirror = await startMirror(["--source-token-file", ours]);
    const source = ["-s", sourceText(content)];
    expect((await initiate(mirror.port, source)).code).toBe(6);
    writeFileSync(`${ours}.new`, ALICE, { mode: 0o600 });
    renameSync(`${ours}.new`, ours);
    mirror.program.kill("SIGHUP");
    await mirror.program.stderrMatch(/tokens and certificates for sources were read again/);
    expect((await initiate(mirror.port, source)).code).toBe(0);
  });
});

describe("files that cannot be used are a matter of usage, and never shown", () => {
  const encrypted = (): string => {
    const path = folder.join("encrypted.key");
    const args = ["ec", "-in", host.keyPath, "-aes256", "-passout", "pass:x", "-out", path];
    expect(Bun.spawnSync(["openssl", ...args], { stderr: "ignore" }).exitCode).toBe(0);
    return path;
  };
  const cases: [string, () => string[], RegExp][] = [
    [
      "a token file that is not there",
      () => ["--token-file", folder.join("nothing")],
      /Cannot read .*no such file/,
    ],
    ["a directory", () => ["--token-file", tree], /it is a directory/],
    ["a token with a tab", () => ["--token-file", secretFile(`alice:hun\tter2`)], /line 1: /],
    [
      "a certificate without a key",
      () => ["--tls-cert", host.certPath],
      /--tls-cert, --tls-key: are given together/,
    ],
    ["a client authority without TLS", () => ["--tls-client-ca", authority.caPath], /needs --tls-cert/],
    ["another's key", () => ["--tls-cert", host.certPath, "--tls-key", client.keyPath], /does not belong/],
    [
      "a key with a passphrase",
      () => ["--tls-cert", host.certPath, "--tls-key", encrypted()],
      /has a passphrase/,
    ],
    [
      "authorities without one",
      () => [...serverTls(), "--tls-client-ca", secretFile("hunter2")],
      /it holds no certificate in PEM/,
    ],
  ];
  test.each(cases)("%s", async (_, flags, why) => {
    const { code, stdout, stderr } = await runDray(["content", "-p", "0", "-d", tree, ...flags()]);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(why);
    expect(stderr).not.toMatch(/hun.?ter2/);
  });

  test("one that everybody can read is used, with a warning", async () => {
    const path = secretFile("short");
    chmodSync(path, 0o644);
    const { program } = await startContent(["--token-file", path]);
    await program.stderrMatch(/everybody on this machine can read it/);
    await program.stderrMatch(/less than 16 bytes/);
  });
});
