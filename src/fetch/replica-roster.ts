import { PartHolders } from "./part-holders.ts";
import type { PieceBoard } from "./piece-board.ts";
import { PlannedReplica } from "./planned-replica.ts";
import type { PlannerAction, ReplicaId } from "./planner-events.ts";

/** Of one that is the last to have something: how many wrong pieces are too many, without a good one between them. */
const MAX_WRONG_IN_A_ROW = 16;

type ConnectionAction = Extract<PlannerAction, { type: "connect" | "disconnect" }>;

/** Who takes part in a fetch, who of them is connected, and who is to be. Pure. */
export class ReplicaRoster {
  readonly holders: PartHolders;
  readonly #board: PieceBoard;
  readonly #maxConnections: number;
  readonly #replicas = new Map<ReplicaId, PlannedReplica>();

  constructor(board: PieceBoard, maxConnections: number) {
    this.#board = board;
    this.#maxConnections = maxConnections;
    this.holders = new PartHolders(board);
  }

  get(id: ReplicaId): PlannedReplica | undefined {
    return this.#replicas.get(id);
  }

  /** In the order in which they joined. */
  all(): PlannedReplica[] {
    return [...this.#replicas.values()];
  }

  connected(): PlannedReplica[] {
    return this.all().filter(({ state }) => state === "connected");
  }

  /** Those that have a connection, and nothing to do. */
  idle(): PlannedReplica[] {
    return this.connected().filter(({ requests }) => requests.length === 0);
  }

  join(id: ReplicaId, parts: "all" | readonly number[], isConnected: boolean): ConnectionAction[] {
    if (this.#replicas.has(id)) return [];
    const hasRoom = this.#room() > 0;
    const replica = new PlannedReplica(id, parts);
    this.#replicas.set(id, replica);
    this.holders.join(replica);
    if (isConnected) replica.state = "connected";
    return isConnected && !hasRoom ? [this.close(replica, "idle")] : [];
  }

  /** It is used no more, but for a last resort if it was quarantined. */
  out(replica: PlannedReplica, state: "left" | "quarantined"): void {
    replica.state = state;
    replica.recall(undefined);
    this.holders.changed();
  }

  close(replica: PlannedReplica, why: "stalled" | "idle"): ConnectionAction {
    replica.state = "closing";
    return { type: "disconnect", replica: replica.id, why };
  }

  /** Makes connections, as far as there is need and room. */
  connect(nowMs: number): ConnectionAction[] {
    const actions: ConnectionAction[] = [];
    for (let room = this.#room(); room > 0; room--) {
      const replica = this.#mostNeeded(nowMs);
      if (replica === undefined) break;
      replica.state = "connecting";
      actions.push({ type: "connect", replica: replica.id });
    }
    return actions;
  }

  /** Lets those go that hold nothing that is missing; and one, when somebody who could do more has no room. */
  closeIdle(nowMs: number): ConnectionAction[] {
    const idle = this.idle();
    const useless = idle.filter((replica) => !this.holders.holdsMissing(replica));
    const actions = useless.map((replica) => this.close(replica, "idle"));
    const spare = idle.find(({ state }) => state === "connected");
    if (spare === undefined || this.#room() > 0 || this.#mostNeeded(nowMs) === undefined) return actions;
    return [...actions, this.close(spare, "idle")];
  }

  /**
   * A replica that was caught may have the last good copy of something else: one bad sector is no reason to lose
   * the file. What it sends is verified like everything.
   */
  recall(): ConnectionAction[] {
    const actions: ConnectionAction[] = [];
    const caught = this.all().filter(
      ({ state, wrongInARow, isRecalled }) =>
        isRecalled || (state === "quarantined" && wrongInARow > 0 && wrongInARow < MAX_WRONG_IN_A_ROW),
    );
    const orphans = caught.length > 0 ? this.holders.orphans() : [];
    for (const replica of caught) {
      if (replica.requests.length > 0) continue;
      const isUseful = (part: number): boolean =>
        replica.couldHold(part) && this.#board.lacks(part, (piece) => !replica.wasCaughtAt(piece));
      const parts = orphans.filter(isUseful);
      if (parts.length > 0) {
        if (!replica.isRecalled) replica.state = "waiting";
        replica.recall(new Set(parts));
        this.holders.changed();
      } else if (replica.isRecalled) {
        if (replica.state === "connected" || replica.state === "connecting")
          actions.push(this.close(replica, "idle"));
        this.out(replica, "quarantined");
      }
    }
    return actions;
  }

  #mostNeeded(nowMs: number): PlannedReplica | undefined {
    const due = this.all().filter(({ state, restsUntilMs }) => state === "waiting" && restsUntilMs <= nowMs);
    return this.holders.mostNeeded(due, nowMs);
  }

  /** For so many more connections. */
  #room(): number {
    let room = this.#maxConnections;
    for (const { state } of this.#replicas.values()) {
      if (state === "connected" || state === "connecting" || state === "closing") room--;
    }
    return room;
  }
}
