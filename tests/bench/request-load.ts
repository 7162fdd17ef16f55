/**
 * Asks one server for one file over and over: `request-load.ts dray|http PORT PATH CONNECTIONS SECONDS SERVER`.
 * Every connection has one request under way. Both protocols are spoken as cheaply as can be: requests
 * are made up in advance, answers are counted by their bytes and not looked into. Prints the answers
 * that came in the time, and the processor time that the process SERVER took for them.
 */
import type { Socket } from "bun";
import { encodeMessage, TO_END } from "../../src/wire/messages.ts";
import { cpuSeconds } from "./cpu-time.ts";

interface Asking {
  receivedBytes: number;
  answers: number;
}

const [protocol, port, path = "", connections, seconds, server] = process.argv.slice(2);
/** One behind the other: no two answers in a row have the same request id. */
const requests = Array.from({ length: 64 }, (_, index) =>
  protocol === "http"
    ? Buffer.from(`GET /${path} HTTP/1.1\r\nHost: bench\r\n\r\n`)
    : encodeMessage(
        { type: "fetch", path, offset: 0, length: TO_END, delayMs: 0, digest: "xxh3" },
        index + 1,
      ),
);
const hello = encodeMessage({
  type: "hello",
  versionMin: 1,
  versionMax: 1,
  capabilities: 0,
  token: new Uint8Array(0),
  agent: "bench",
});

const answerBytes = await lengthOfAnswer();
let answers = 0;
const sockets = await Promise.all(Array.from({ length: Number(connections) }, () => connect(take)));
for (const socket of sockets) socket.write(requests[0]!);
await Bun.sleep(300);
answers = 0;
const startMs = performance.now();
const startCpuSeconds = cpuSeconds(Number(server));
await Bun.sleep(Number(seconds) * 1000);
const cpuMs = 1000 * (cpuSeconds(Number(server)) - startCpuSeconds);
console.log(JSON.stringify({ answers, durationMs: performance.now() - startMs, cpuMs }));
process.exit(0);

function take(socket: Socket<Asking>, chunk: Uint8Array): void {
  socket.data.receivedBytes += chunk.length;
  while (socket.data.receivedBytes >= answerBytes) {
    socket.data.receivedBytes -= answerBytes;
    answers++;
    socket.data.answers++;
    socket.write(requests[socket.data.answers % requests.length]!);
  }
}

/** Connected, and welcomed where that is the custom. */
async function connect(data: (socket: Socket<Asking>, chunk: Uint8Array) => void): Promise<Socket<Asking>> {
  const ready = Promise.withResolvers<Socket<Asking>>();
  let isReady = protocol === "http";
  await Bun.connect<Asking>({
    hostname: "127.0.0.1",
    port: Number(port),
    data: { receivedBytes: 0, answers: 0 },
    socket: {
      open: (socket) => {
        socket.data = { receivedBytes: 0, answers: 0 };
        if (isReady) ready.resolve(socket);
        else socket.write(hello);
      },
      data: (socket, chunk) => {
        if (isReady) return data(socket, chunk);
        isReady = true; // WELCOME is small and comes whole
        ready.resolve(socket);
      },
      close: () => ready.reject(new Error("the server ended the connection")),
      error: (_, error) => ready.reject(error),
    },
  });
  return await ready.promise;
}

/** Every answer is as long as the first one; it is over when nothing more comes. */
async function lengthOfAnswer(): Promise<number> {
  let bytes = 0;
  const socket = await connect((_, chunk) => void (bytes += chunk.length));
  for (let rounds = 0; rounds < 2; rounds++) {
    bytes = 0;
    socket.write(requests[rounds]!);
    await Bun.sleep(300);
  }
  socket.terminate();
  if (bytes === 0) throw new Error("no answer came");
  return bytes;
}
