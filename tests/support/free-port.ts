import { once } from "node:events";
import { createServer } from "node:net";

/** Below what systems hand out by themselves, and above what steadyPort gives. */
const FIRST_PORT = 30_000;
const LAST_PORT = 32_767;

/**
 * A TCP port on which nobody listens, and which nobody is given by chance: for a source that is dead, and
 * for programs that cannot pick a port themselves.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    if (await isFree(port)) return port;
  }
}

/** Whether somebody could listen there now. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
