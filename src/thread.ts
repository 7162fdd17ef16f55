/** Entry of a pool thread. Beside main.ts, where the compiled binary finds it. */
import type { FromThread, ToThread } from "./mirror/job.ts";
import { LaneThread } from "./mirror/lane-thread.ts";

declare const self: Worker;

const lanes = new LaneThread((message: FromThread) => self.postMessage(message));

self.onmessage = (event: MessageEvent<ToThread>) => {
  // A fault in here must reach the daemon's onerror, not vanish.
  lanes.take(event.data).catch((error: unknown) =>
    setTimeout(() => {
      throw error;
    }),
  );
};
