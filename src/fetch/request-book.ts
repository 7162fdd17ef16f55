import type { PieceBoard } from "./piece-board.ts";
import type { PlannedReplica, PlannedRequest } from "./planned-replica.ts";
import type { PieceRun, RequestId } from "./planner-events.ts";

/** The requests that are under way, and with them the pieces. Pure. */
export class RequestBook {
  readonly #board: PieceBoard;
  readonly #requests = new Map<RequestId, PlannedRequest>();
  #lastId = 0;

  constructor(board: PieceBoard) {
    this.#board = board;
  }

  get(id: RequestId): PlannedRequest | undefined {
    return this.#requests.get(id);
  }

  get size(): number {
    return this.#requests.size;
  }

  all(): Iterable<PlannedRequest> {
    return this.#requests.values();
  }

  /** @param pieces counted as under way already */
  begin(replica: PlannedReplica, pieces: PieceRun, nowMs: number): PlannedRequest {
    const request: PlannedRequest = {
      id: ++this.#lastId,
      replica,
      part: this.#board.partOf(pieces.first),
      pieces,
      sizeBytes: this.#board.sizeOf(pieces),
      receivedBytes: 0,
      released: pieces.first,
      isCancelled: false,
    };
    if (replica.requests.length === 0) replica.pace.begin(nowMs);
    replica.requests.push(request);
    this.#requests.set(request.id, request);
    return request;
  }

  received(request: PlannedRequest, bytes: number, nowMs: number): void {
    request.receivedBytes = Math.min(request.receivedBytes + bytes, request.sizeBytes);
    request.replica.isQuiet = request.replica.isDoubtful = false;
    request.replica.pace.received(bytes, nowMs);
  }

  /** Its pieces before this one are not under way by it any more. */
  release(request: PlannedRequest, end: number): void {
    const first = request.released;
    if (end <= first) return;
    request.released = end;
    this.#board.release({ first, count: end - first });
  }

  end(request: PlannedRequest, nowMs: number): void {
    this.release(request, request.pieces.first + request.pieces.count);
    this.#requests.delete(request.id);
    const { replica } = request;
    replica.requests.splice(replica.requests.indexOf(request), 1);
    const isIdle = replica.requests.length === 0;
    replica.pace.ended(nowMs, isIdle);
    if (isIdle) replica.isQuiet = false;
  }

  /** Ends all requests of a replica. */
  void(replica: PlannedReplica, nowMs: number): void {
    for (const request of [...replica.requests]) this.end(request, nowMs);
  }

  /** Whether some of its pieces are not verified. */
  isShort({ pieces: { first, count } }: PlannedRequest): boolean {
    for (let piece = first; piece < first + count; piece++) if (!this.#board.isVerified(piece)) return true;
    return false;
  }

  /** Takes note that what a replica is answering is not needed any more. @returns the request, if that is new */
  cancelNeedless({ requests }: PlannedReplica): PlannedRequest | undefined {
    // What stands behind it has its time.
    const [request] = requests;
    if (request === undefined || request.isCancelled || this.isShort(request)) return undefined;
    if (request.receivedBytes === request.sizeBytes) return undefined;
    request.isCancelled = true;
    return request;
  }
}
