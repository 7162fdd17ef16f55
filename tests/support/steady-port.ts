import { isFree } from "./free-port.ts";

/** Below what systems hand out by themselves: nobody takes such a port while its server is being restarted. */
const FIRST_PORT = 20_000;
const LAST_PORT = 29_999;

const given = new Set<number>();

/** A free TCP port of 127.0.0.1 for a server that is ended and started again on it. */
export async function steadyPort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}
