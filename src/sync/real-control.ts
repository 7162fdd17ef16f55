import type { Socket } from "bun";
import * as fs from "node:fs";
import * as path from "node:path";
import { ERROR_CODES, type ErrorCode } from "../errors/codes.ts";
import { DrayError, asDrayError, systemErrorCode } from "../errors/dray-error.ts";
import { Connection, type ConnectionSlot, connectionHandlers } from "../net/connection.ts";
import { ControlLines, type ControlRequest, parseControlLine } from "./control-lines.ts";
import { CONTROL_NAME, STATE_FOLDER } from "./state-folder.ts";

export type { ControlRequest };

/** Answers a question in any number of lines; a throw is answered as an error. */
export type ControlAnswer = (request: ControlRequest) => Iterable<object>;

const MAX_REQUEST_BYTES = 64 * 1024;
const MAX_CONNECTIONS = 16;
/** For a question to be asked, and for portions of its answer to be taken. */
const IDLE_MS = 30_000;

/**
 * Answers questions of this user's other processes on the socket ROOT/.dray/control: JSON Lines, one question a
 * connection, answered by lines, the last of which is `{"type":"end"}` or `{"type":"error","code":…,"message":…}`.
 * The caller has the folder's lock, so a socket that is there is an old one.
 * @throws DrayError, a system error
 */
export function serveControl(rootPath: string, answer: ControlAnswer): { close(): void } {
  const folder = holdStateFolder(rootPath);
  const open = new Set<Connection>();
  try {
    fs.rmSync(folder.socketPath, { force: true });
    const server = Bun.listen<ConnectionSlot>({
      unix: folder.socketPath,
      allowHalfOpen: true,
      data: { connection: undefined, isTrusted: true },
      socket: connectionHandlers((socket: Socket<ConnectionSlot>) => {
        if (open.size >= MAX_CONNECTIONS) return void socket.terminate();
        const connection = new Connection(socket, "the control socket", "");
        socket.data = { connection, isTrusted: true };
        open.add(connection);
        answerOne(connection, answer, () => open.delete(connection));
      }),
    });
    // Whoever may not write to it cannot ask.
    fs.chmodSync(folder.socketPath, 0o600);
    return {
      close() {
        server.stop(true);
        for (const connection of open) connection.destroy();
        fs.rmSync(folder.socketPath, { force: true });
        folder.release();
      },
    };
  } catch (error) {
    folder.release();
    throw error;
  }
}

function answerOne(connection: Connection, answer: ControlAnswer, closed: () => void): void {
  const lines = new ControlLines(MAX_REQUEST_BYTES);
  let answers: Iterator<object> | undefined;
  const idle = setTimeout(() => connection.destroy(), IDLE_MS);
  const goOn = (): void => {
    idle.refresh();
    while (answers !== undefined && connection.isOpen && connection.pendingBytes === 0) {
      const next = nextOf(answers);
      connection.write(lineOf(next));
      if ("type" in next && (next.type === "end" || next.type === "error")) {
        answers = undefined;
        connection.finish();
      }
    }
  };
  connection.attach({
    data(chunk) {
      if (answers !== undefined) return;
      const line = lines.push(chunk)[0];
      if (line === undefined) return;
      answers = endless(() => answer(parseControlLine(line)));
      goOn();
    },
    drained: goOn,
    ended() {
      if (answers === undefined) connection.finish();
    },
    closed() {
      clearTimeout(idle);
      closed();
    },
  });
}

function nextOf(answers: Iterator<object>): object {
  const next = answers.next();
  return next.done === true ? { type: "end" } : next.value;
}

/** Errors become the last line. */
function* endless(answer: () => Iterable<object>): Generator<object, void> {
  try {
    yield* answer();
  } catch (error) {
    const { code, message } = asDrayError(error);
    yield { type: "error", code, message };
  }
}

/**
 * Asks the dray that runs on a folder.
 * @returns its lines, without the end; undefined when none runs there
 * @throws DrayError: what the other side answered; "timeout", "closed", "protocol"
 */
export async function askControl(
  rootPath: string,
  request: ControlRequest,
  timeoutMs: number,
): Promise<Record<string, unknown>[] | undefined> {
  let folder: HeldFolder;
  try {
    folder = holdStateFolder(rootPath);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    if (!fs.existsSync(folder.socketPath)) return undefined;
    return await ask(folder.socketPath, request, timeoutMs);
  } finally {
    folder.release();
  }
}

async function ask(
  socketPath: string,
  request: ControlRequest,
  timeoutMs: number,
): Promise<Record<string, unknown>[] | undefined> {
  const answered = Promise.withResolvers<Record<string, unknown>[] | undefined>();
  const lines = new ControlLines(Infinity);
  const answers: Record<string, unknown>[] = [];
  let asking: Connection | undefined;
  const timer = setTimeout(() => {
    answered.reject(new DrayError("timeout", `the running dray gave no answer within ${timeoutMs / 1000} s`));
    asking?.destroy();
  }, timeoutMs);
  const take = (line: Record<string, unknown>): void => {
    if (line.type === "end") answered.resolve(answers);
    else if (line.type === "error") answered.reject(new DrayError(codeOf(line.code), String(line.message)));
    else answers.push(line);
  };
  const handlers = connectionHandlers((socket) => {
    const connection = (asking = new Connection(socket, "the running dray", ""));
    socket.data.connection = connection;
    connection.attach({
      data: (chunk) => lines.push(chunk).forEach((line) => take(parseControlLine(line))),
      drained: () => {},
      ended: () => connection.finish(),
      closed: (error) =>
        answered.reject(error ?? new DrayError("closed", "the running dray ended without an answer")),
    });
    connection.write(lineOf(request));
  });
  try {
    await Bun.connect<ConnectionSlot>({
      unix: socketPath,
      allowHalfOpen: true,
      data: { connection: undefined, isTrusted: true },
      socket: handlers,
    });
    return await answered.promise;
  } catch (error) {
    // Nobody listens any more: it was killed.
    if (["ECONNREFUSED", "ENOENT"].includes(systemErrorCode(error) ?? "")) return undefined;
    throw asDrayError(error);
  } finally {
    clearTimeout(timer);
    asking?.finish();
  }
}

function codeOf(code: unknown): ErrorCode {
  return typeof code === "string" && code in ERROR_CODES ? (code as ErrorCode) : "internal";
}

function lineOf(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

interface HeldFolder {
  readonly socketPath: string;
  release(): void;
}

/** A socket's address holds some hundred bytes: a path by way of a descriptor is always short enough. */
function holdStateFolder(rootPath: string): HeldFolder {
  const statePath = path.join(path.resolve(rootPath), STATE_FOLDER);
  if (process.platform !== "linux")
    return { socketPath: path.join(statePath, CONTROL_NAME), release: () => {} };
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs.constants;
  const descriptor = fs.openSync(statePath, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  return {
    socketPath: `/proc/self/fd/${descriptor}/${CONTROL_NAME}`,
    release: () => fs.closeSync(descriptor),
  };
}
