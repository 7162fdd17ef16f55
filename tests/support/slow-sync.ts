import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { Condition, type WaitOptions } from "./wait.ts";

/**
 * Stands in for the system's `sync` program, which takes as long as a test lets it: orders are then in
 * the middle of their end. Needs bash.
 */
export class SlowSync implements AsyncDisposable {
  /** For a mirror, so that it finds this one. */
  readonly env: Record<string, string>;
  readonly #server: Server;
  readonly #condition = new Condition();
  #waiting: Socket[] = [];
  #isHolding = false;

  private constructor(server: Server, directory: string) {
    this.#server = server;
    this.env = { PATH: `${directory}:${process.env["PATH"]}` };
    server.on("connection", (socket) => {
      socket.on("error", () => {}); // whoever waited was killed
      if (!this.#isHolding) return void socket.end();
      this.#waiting.push(socket);
      this.#condition.changed();
    });
  }

  /** @param directory in which the program is put; nothing else may be in it */
  static async open(directory: string): Promise<SlowSync> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("No port");
    writeFileSync(`${directory}/sync`, `#!/bin/bash\nexec cat </dev/tcp/127.0.0.1/${address.port}\n`);
    chmodSync(`${directory}/sync`, 0o755);
    return new SlowSync(server, directory);
  }

  /** From now on syncs wait. */
  hold(): void {
    this.#isHolding = true;
  }

  /** Waits until a sync is under way. */
  async reached(options: WaitOptions = {}): Promise<void> {
    await this.#condition.until(
      () => (this.#waiting.length > 0 ? true : undefined),
      () => "a sync",
      options,
    );
  }

  letGo(): void {
    this.#isHolding = false;
    for (const socket of this.#waiting.splice(0)) socket.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.letGo();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }
}
