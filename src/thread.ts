/** Entry of a pool thread. Beside main.ts, where the compiled binary finds it. */
import { type ToSumThread, isForSumThread } from "./fetch/sum-messages.ts";
import { SumThread } from "./fetch/sum-thread.ts";
import type { ToThread } from "./mirror/job.ts";
import { LaneThread } from "./mirror/lane-thread.ts";

declare const self: Worker;

const lanes = new LaneThread((message) => self.postMessage(message));
const sums = new SumThread((message) => self.postMessage(message));

self.onmessage = ({ data }: MessageEvent<ToThread | ToSumThread>) => {
  if (isForSumThread(data)) return sums.take(data);
  // A fault in here must reach the daemon's onerror, not vanish.
  lanes.take(data).catch((error: unknown) =>
    setTimeout(() => {
      throw error;
    }),
  );
};
