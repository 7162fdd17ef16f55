/** Entry of a pool thread. Beside main.ts, where the compiled binary finds it. */
import { type ToSumThread, isForSumThread } from "./fetch/sum-messages.ts";
import { SumThread } from "./fetch/sum-thread.ts";
import type { ToThread } from "./mirror/job.ts";
import { LaneThread } from "./mirror/lane-thread.ts";
import { type ToHashThread, isForHashThread } from "./sync/hash-messages.ts";
import { HashThread } from "./sync/real-hash-thread.ts";
import { type ToSplitThread, isForSplitThread } from "./upload/split-messages.ts";
import { SplitThread } from "./upload/split-thread.ts";

declare const self: Worker;

const lanes = new LaneThread((message) => self.postMessage(message));
const sums = new SumThread((message) => self.postMessage(message));
const splits = new SplitThread((message) => self.postMessage(message));
const hashes = new HashThread((message) => self.postMessage(message));

self.onmessage = ({ data }: MessageEvent<ToThread | ToSumThread | ToSplitThread | ToHashThread>) => {
  if (isForSumThread(data)) return sums.take(data);
  if (isForSplitThread(data)) return splits.take(data);
  if (isForHashThread(data)) return hashes.take(data);
  // A fault in here must reach the daemon's onerror, not vanish.
  lanes.take(data).catch((error: unknown) =>
    setTimeout(() => {
      throw error;
    }),
  );
};
