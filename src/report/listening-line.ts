import { jsonLine } from "./json-line.ts";
import { hostAndPort } from "./source-label.ts";

/** The first line of a server on stdout, its newline included: for programs with `json`, otherwise for people. */
export function listeningLine(bound: { address: string; port: number }, json: boolean): string {
  if (json) return jsonLine({ type: "listening", address: bound.address, port: bound.port });
  return `Listening on ${hostAndPort(bound.address, bound.port)}\n`;
}

/** A mirror's second line, when it serves its own tree as well. */
export function exportingLine(bound: { address: string; port: number }, json: boolean): string {
  if (json) return jsonLine({ type: "exporting", address: bound.address, port: bound.port });
  return `Exporting on ${hostAndPort(bound.address, bound.port)}\n`;
}
