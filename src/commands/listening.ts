import { listeningLine } from "../report/listening-line.ts";
import type { CommandIo } from "./command.ts";

/** A server's first line on stdout, and a loud word when it is open to more than this machine. */
export async function announce(
  bound: { address: string; port: number },
  json: boolean,
  io: CommandIo,
  consequence: string,
): Promise<void> {
  await io.out.text(listeningLine(bound, json));
  if (!isLoopback(bound.address)) {
    io.log.warn(`listening on ${bound.address} without a token: ${consequence}`);
  }
}

function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || address.startsWith("127.");
}
