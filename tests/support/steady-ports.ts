import { isFree } from "./free-port.ts";

/** Below what systems hand out by themselves, and above all that the other helpers give. */
const FIRST_PORT = 10_000;
const LAST_PORT = 19_999;

const given = new Set<number>();

/** The first of so many free TCP ports of 127.0.0.1 in a row, for servers that are ended and started again. */
export async function steadyPorts(count: number): Promise<number> {
  for (;;) {
    const first = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT - count));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if (ports.some((port) => given.has(port))) continue;
    const free = await Promise.all(ports.map(isFree));
    if (!free.every(Boolean)) continue;
    for (const port of ports) given.add(port);
    return first;
  }
}
