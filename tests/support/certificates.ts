import { readFileSync, writeFileSync } from "node:fs";
import { type TempFolder, tempFolder } from "./temp.ts";

/** A certificate and its key as files, and as texts. */
export interface Issued {
  readonly certPath: string;
  readonly keyPath: string;
  readonly cert: string;
  readonly key: string;
}

export interface IssueOptions {
  /** For a server: `DNS:localhost,IP:127.0.0.1`. */
  hosts?: string;
  /** For a client; a server if not given. */
  isClient?: boolean;
  isExpired?: boolean;
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
const THIS_HOST = "DNS:localhost,IP:127.0.0.1,IP:::1";

/** A certificate authority of a test, made by openssl. */
export class Authority implements Disposable {
  readonly #folder: TempFolder = tempFolder();
  readonly caPath: string;
  readonly ca: string;
  #issued = 0;

  constructor(name = "dray test authority") {
    this.caPath = this.#folder.join("ca.pem");
    const key = this.#folder.join("ca.key");
    openssl(
      "req",
      "-x509",
      ...NEW_KEY,
      "-keyout",
      key,
      "-out",
      this.caPath,
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
    );
    this.ca = readFileSync(this.caPath, "utf8");
  }

  issue(name: string, options: IssueOptions = {}): Issued {
    const base = this.#folder.join(`${++this.#issued}`);
    const [certPath, keyPath, request, extensions] = ["pem", "key", "csr", "ext"].map(
      (end) => `${base}.${end}`,
    ) as [string, string, string, string];
    openssl("req", ...NEW_KEY, "-keyout", keyPath, "-out", request, "-subj", `/CN=${name}`);
    writeFileSync(
      extensions,
      options.isClient === true
        ? "extendedKeyUsage=clientAuth\n"
        : `extendedKeyUsage=serverAuth\nsubjectAltName=${options.hosts ?? THIS_HOST}\n`,
    );
    const signer = ["-CA", this.caPath, "-CAkey", this.#folder.join("ca.key"), "-CAcreateserial"];
    const days = ["-days", options.isExpired === true ? "-1" : "2"];
    openssl("x509", "-req", "-in", request, ...signer, ...days, "-extfile", extensions, "-out", certPath);
    return { certPath, keyPath, cert: readFileSync(certPath, "utf8"), key: readFileSync(keyPath, "utf8") };
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

function openssl(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr.toString()}`);
}
