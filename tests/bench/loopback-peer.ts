/**
 * Both ends of the bare copy in loopback.ts:
 *   serve FILE          prints a port and sends the file to whoever connects
 *   receive PORT FILE   stores what comes from there
 */
import { openSync, readSync, writeSync } from "node:fs";
import type { Socket } from "bun";

interface Sending {
  descriptor: number;
  position: number;
  /** Of the buffer, what the system did not take yet. */
  start: number;
  end: number;
}

const [mode, target = "", path = ""] = process.argv.slice(2);
if (mode === "serve") serve(target);
else if (mode === "receive") await receive(Number(target), path);
else throw new Error("serve FILE, or receive PORT FILE");

function serve(file: string): void {
  const buffer = new Uint8Array(1024 * 1024);
  const pump = (socket: Socket<Sending>): void => {
    const state = socket.data;
    for (;;) {
      if (state.start === state.end) {
        state.start = 0;
        state.end = readSync(state.descriptor, buffer, 0, buffer.length, state.position);
        state.position += state.end;
        if (state.end === 0) return void socket.end();
      }
      const taken = socket.write(buffer, state.start, state.end - state.start);
      if (taken < 0) return;
      state.start += taken;
      if (state.start < state.end) return;
    }
  };
  const server = Bun.listen<Sending>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => {
        socket.data = { descriptor: openSync(file, "r"), position: 0, start: 0, end: 0 };
        pump(socket);
      },
      drain: pump,
      data: () => {},
    },
  });
  console.log(server.port);
}

async function receive(port: number, file: string): Promise<void> {
  const descriptor = openSync(file, "w");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data: (_, chunk) => {
        for (let at = 0; at < chunk.length;) at += writeSync(descriptor, chunk, at);
      },
      close: (_, error) => (error === undefined ? resolve() : reject(error)),
    },
  });
  await promise;
}
