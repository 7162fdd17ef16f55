import type { Hub } from "./hub.ts";

/** Uploads that a status lists one by one. */
const MAX_LISTED = 1000;

/** What a hub does right now, one object a line: the server, then its clients, then the files that are being written. */
export function* hubStatus(hub: Hub): Generator<{ type: string } & Record<string, unknown>, void> {
  const { roster, clients, jobs } = hub;
  const nowMs = hub.clock.monotonicMs();
  const peers = new Map([...hub.sessions].map((session) => [session.id, session.link.peer]));
  yield {
    type: "server",
    id: hub.id,
    files: roster.fileCount,
    sequence: roster.sequence,
    clients: clients.count,
    connections: peers.size,
    locks: roster.lockCount,
    jobsRunning: jobs.running,
    jobsWaiting: jobs.waiting,
  };
  for (const feed of clients.feeds) {
    yield {
      type: "client",
      peer: feed.link.peer,
      isDray: feed.isOurs,
      waiting: feed.queue.size,
      delivered: feed.deliveries,
      ...(feed.current === undefined ? {} : { sending: feed.current }),
    };
  }
  let listed = 0;
  for (const [name, lock] of roster.locks()) {
    if (listed++ >= MAX_LISTED) return;
    const { sinceMs, progressMs, session } = lock;
    const times = { heldMs: Math.round(nowMs - sinceMs), idleMs: Math.round(nowMs - progressMs) };
    yield { type: "lock", name, peer: peers.get(session) ?? "", ...times };
  }
}
