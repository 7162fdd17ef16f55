import { once } from "node:events";
import { createServer } from "node:net";

/**
 * A TCP port on which nobody listens: for a source that is dead, and for programs that cannot pick a
 * port themselves. Somebody else may take it at any moment.
 */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("No port");
  server.close();
  await once(server, "close");
  return address.port;
}
