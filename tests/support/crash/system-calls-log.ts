/** One system call as strace wrote it down. */
export interface LoggedCall {
  pid: number;
  name: string;
  /** As text, with strings in hexadecimal escapes; `textOf` and `bytesOf` read them. */
  args: readonly string[];
  /** What came back; -1 for any failure. */
  returned: number;
  /** The path of a descriptor that came back. */
  returnedPath: string | undefined;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** Calls happen between their beginning and their end; those of several threads overlap. */
export type LogEvent = { type: "begins" | "ends"; number: number; call: LoggedCall };

interface Begun {
  number: number;
  name: string;
  text: string;
  atMs: number;
}

/**
 * Reads a log of `strace -f -y -xx -ttt`. Pure.
 * @returns the beginnings and ends of all calls that came back, in their order
 * @throws Error at a line that it does not know
 */
export function readLog(log: string): LogEvent[] {
  const events: LogEvent[] = [];
  const open = new Map<number, Begun>();
  const begins = new Map<number, number>();
  let number = 0;
  const end = (pid: number, begun: Begun, rest: string): void => {
    const text = begun.text + rest;
    const at = text.lastIndexOf(") = ");
    if (at < 0) throw new Error(`no result in ${shorten(text)}`);
    const [, value, path] =
      /^(-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>)?/.exec(text.slice(at + 4).trimStart()) ?? [];
    if (value === undefined) throw new Error(`no result in ${shorten(text)}`);
    if (value === "?") return; // the process ended in it
    const call: LoggedCall = {
      pid,
      name: begun.name,
      args: splitArguments(text.slice(0, at)),
      returned: Number(value),
      returnedPath: path === undefined ? undefined : unescaped(path).toString(),
      atMs: begun.atMs,
    };
    events[begins.get(begun.number)!] = { type: "begins", number: begun.number, call };
    events.push({ type: "ends", number: begun.number, call });
  };
  for (const line of log.split("\n")) {
    const [, pidText, seconds, what] = /^(\d+) +(\d+\.\d+) (.*)$/s.exec(line) ?? [];
    if (what === undefined || what.startsWith("+++") || what.startsWith("---")) continue;
    const pid = Number(pidText);
    // A thread that was gone with its process before it could be asked what it was about to call.
    if (/^\?\?\?\((?:\) += \?| <unfinished \.\.\.>)$|^<\.\.\. \?\?\? resumed>.*= \?$/.test(what)) continue;
    const resumed = /^<\.\.\. (\w+) resumed>(.*)$/s.exec(what);
    if (resumed !== null) {
      const begun = open.get(pid);
      open.delete(pid);
      if (begun === undefined || begun.name !== resumed[1]) throw new Error(`unexpected: ${shorten(line)}`);
      end(pid, begun, resumed[2]!);
      continue;
    }
    const name = /^(\w+)\(/.exec(what)?.[1];
    if (name === undefined) throw new Error(`unexpected: ${shorten(line)}`);
    const begun: Begun = {
      number: number++,
      name,
      text: what.slice(name.length + 1),
      atMs: Number(seconds) * 1e3,
    };
    begins.set(begun.number, events.length);
    events.length++; // its beginning, once its end is known
    const unfinished = " <unfinished ...>";
    if (what.endsWith(unfinished)) {
      open.set(pid, { ...begun, text: begun.text.slice(0, -unfinished.length) });
    } else {
      end(pid, begun, "");
    }
  }
  return events.filter((event: LogEvent | undefined) => event !== undefined);
}

/** The bytes of a string argument. @throws Error when it was cut off */
export function bytesOf(argument: string): Buffer {
  const escaped = /^"((?:\\x[0-9a-f]{2})*)"$/.exec(argument)?.[1];
  if (escaped === undefined) throw new Error(`no whole string: ${shorten(argument)}`);
  return unescaped(escaped);
}

export function textOf(argument: string): string {
  return bytesOf(argument).toString();
}

/** The number of a descriptor argument (or AT_FDCWD), and the path that strace gave with it. */
export function descriptorOf(argument: string): { descriptor: string; path: string } {
  const [, descriptor, path] = /^(\w+)<([^>]*)>/.exec(argument) ?? [];
  if (descriptor === undefined) throw new Error(`no descriptor: ${shorten(argument)}`);
  return { descriptor, path: unescaped(path!).toString() };
}

function unescaped(text: string): Buffer {
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}

/** At commas outside of brackets: strings hold none, since all of their bytes are escaped. */
function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (const { 0: mark, index } of text.matchAll(/[[\]{}(),]/g)) {
    if ("[{(".includes(mark)) depth++;
    else if ("]})".includes(mark)) depth--;
    else if (depth === 0) {
      parts.push(text.slice(start, index).trim());
      start = index + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
