import { connect } from "node:net";
import { once } from "node:events";

const LIMIT_MS = 10_000;
const PAUSE_MS = 20;

/** Resolves when somebody listens on the port: rsync and rclone do not say when they are ready. */
export async function portOpen(port: number): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    const socket = connect({ host: "127.0.0.1", port });
    try {
      await once(socket, "connect");
      return;
    } catch (error) {
      if (performance.now() - startedMs > LIMIT_MS) throw error;
      await Bun.sleep(PAUSE_MS);
    } finally {
      socket.destroy();
    }
  }
}
