import type { PartHolders } from "./part-holders.ts";
import type { PieceBoard } from "./piece-board.ts";
import type { PlannedReplica, PlannedRequest } from "./planned-replica.ts";
import type { PieceRun } from "./planner-events.ts";

/** A request is so much work, within these bounds: then a replica that fails holds up little. */
const RUN_MS = 500;
const MIN_RUN_BYTES = 1024 * 1024;
const MAX_RUN_BYTES = 16 * 1024 * 1024;
/** Who owes us more work than this gets no second request. */
const MAX_OWED_MS = 1_500;

/** Towards the end, runs become shorter, so that all replicas come to the end together. */
const SHARES_EACH = 2;

/** It is worth repeating what another one is at when that is expected to gain so much… */
const MIN_GAIN_MS = 50;
/** …and takes at most this part of the time. */
const MAX_HEDGE_SHARE = 0.67;
/** Of a replica that has sent nothing yet, nothing is expected for so long. */
const FIRST_WORD_MS = 500;
/** A silence beyond this, and beyond what is usual, is expected to go on for as long again. */
const SILENCE_MS = 100;

/** A silence counts only beside others who have spoken in this last part of it: else it may be ours. */
const OTHERS_SPOKE = 0.25;
/** What is taken over of an overdue replica, at once: then all share in it, and none takes long. */
const RESCUE_BYTES = 4 * 1024 * 1024;

/** Whether a replica can do with another request. Pure, as all of this file. */
export function wantsMore(replica: PlannedReplica): boolean {
  const { bytesPerMs } = replica.pace;
  if (replica.isDoubtful && replica.requests.length > 0) return false;
  return bytesPerMs === 0 || replica.owedBytes / bytesPerMs < MAX_OWED_MS;
}

/** What a replica is asked for next, of what nobody is asked for; the pieces are under way from now on. */
export function freeRun(
  replica: PlannedReplica,
  board: PieceBoard,
  holders: PartHolders,
  nowMs: number,
): PieceRun | undefined {
  const best = holders.bestPart(replica, nowMs);
  if (best === undefined) return undefined;
  const { pieceBytes } = board.layout;
  const least = Math.max(1, Math.floor(MIN_RUN_BYTES / pieceBytes));
  const fairPieces = Math.ceil(best.freePieces / (SHARES_EACH * Math.max(1, best.sharers)));
  const byPace = Math.max(1, Math.floor(runBytes(replica) / pieceBytes));
  // Who was wrong before is asked for one piece at a time, and not for those again.
  const mostPieces = replica.isRecalled ? 1 : Math.min(byPace, Math.max(fairPieces, least));
  return board.takeFree(best.part, mostPieces, (piece) => !replica.wasCaughtAt(piece));
}

/**
 * What an idle replica repeats of what another one is at, where that is expected to take longest: from its end on,
 * so much that both would be through at the same time.
 */
export function hedgeRun(
  helper: PlannedReplica,
  requests: Iterable<PlannedRequest>,
  board: PieceBoard,
  nowMs: number,
): PieceRun | undefined {
  const { pieceBytes } = board.layout;
  let best: { tail: PieceRun; expectedMs: number } | undefined;
  for (const request of requests) {
    if (request.replica === helper || !helper.holds(request.part)) continue;
    const expectedMs = expectedMsOf(request, nowMs);
    if (expectedMs < MIN_GAIN_MS || (best !== undefined && expectedMs <= best.expectedMs)) continue;
    const tail = hedgeableTail(request, board, Math.max(1, Math.floor(runBytes(helper) / pieceBytes)));
    if (tail !== undefined) best = { tail, expectedMs };
  }
  if (best === undefined) return undefined;
  const { tail, expectedMs } = best;
  // One that has sent nothing yet is given the benefit of the doubt, for one piece.
  const piecesPerMs = helper.pace.bytesPerMs / pieceBytes;
  if (piecesPerMs === 0) return last(tail, 1);
  const theirPiecesPerMs = tail.count / expectedMs;
  const count = Math.max(1, Math.floor((tail.count * piecesPerMs) / (piecesPerMs + theirPiecesPerMs)));
  const helpMs = count / piecesPerMs;
  if (helpMs > expectedMs * MAX_HEDGE_SHARE || helpMs > expectedMs - MIN_GAIN_MS) return undefined;
  return last(tail, count);
}

/** Of replicas that are connected, those that owe something and keep silent while others go on. */
export function overdue(connected: readonly PlannedReplica[], nowMs: number): PlannedReplica[] {
  const busy = connected.filter(({ requests }) => requests.length > 0);
  const leastSilentMs = Math.min(...busy.map(({ pace }) => pace.silentMs(nowMs)));
  return busy.filter((replica) => {
    const silentMs = replica.pace.silentMs(nowMs);
    return silentMs >= replica.overdueAfterMs && leastSilentMs <= silentMs * OTHERS_SPOKE;
  });
}

/**
 * What a replica takes over of those that are overdue, before it is asked for anything new: the first pieces that
 * only they were asked for. The longer those are missing, the more of the file has to be read again for its sum.
 */
export function rescueRun(
  helper: PlannedReplica,
  silent: readonly PlannedReplica[],
  board: PieceBoard,
): PieceRun | undefined {
  const mostPieces = Math.max(
    1,
    Math.floor(Math.min(runBytes(helper), RESCUE_BYTES) / board.layout.pieceBytes),
  );
  let first: { piece: number; end: number } | undefined;
  for (const { requests } of silent) {
    for (const { part, pieces, released } of requests) {
      if (!helper.holds(part)) continue;
      const end = pieces.first + pieces.count;
      let piece = released;
      while (piece < end && !(board.isHedgeable(piece) && !helper.wasCaughtAt(piece))) piece++;
      if (piece < end && (first === undefined || piece < first.piece)) first = { piece, end };
    }
  }
  if (first === undefined) return undefined;
  const { piece, end } = first;
  let count = 1;
  const isMore = (next: number): boolean =>
    next < end && board.isHedgeable(next) && !helper.wasCaughtAt(next);
  while (count < mostPieces && isMore(piece + count)) count++;
  return { first: piece, count };
}

function runBytes({ pace, isDoubtful }: PlannedReplica): number {
  return isDoubtful || pace.bytesPerMs === 0
    ? MIN_RUN_BYTES
    : Math.min(pace.bytesPerMs * RUN_MS, MAX_RUN_BYTES);
}

/** When a request's answer is expected to be complete, from now on. */
function expectedMsOf(request: PlannedRequest, nowMs: number): number {
  const { pace, requests, isDoubtful } = request.replica;
  const silentMs = pace.silentMs(nowMs);
  if (isDoubtful) return silentMs + FIRST_WORD_MS;
  if (pace.bytesPerMs === 0) return silentMs < FIRST_WORD_MS ? 0 : silentMs;
  let owedBytes = 0;
  for (const owed of requests) {
    owedBytes += owed.sizeBytes - owed.receivedBytes;
    if (owed === request) break;
  }
  const isOverdue = silentMs > Math.max(SILENCE_MS, 2 * pace.usualGapMs);
  return owedBytes / pace.bytesPerMs + (isOverdue ? silentMs : 0);
}

/** The last pieces of a request that are under way by it alone. */
function hedgeableTail(
  { pieces, released }: PlannedRequest,
  board: PieceBoard,
  mostPieces: number,
): PieceRun | undefined {
  let end = pieces.first + pieces.count;
  while (end > released && !board.isHedgeable(end - 1)) end--;
  let first = end;
  while (first > released && end - first < mostPieces && board.isHedgeable(first - 1)) first--;
  return first === end ? undefined : { first, count: end - first };
}

function last({ first, count }: PieceRun, wanted: number): PieceRun {
  return { first: first + count - wanted, count: wanted };
}
