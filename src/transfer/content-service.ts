import type { ContainedRoot } from "../disk/contained-root.ts";
import type { Hides } from "../disk/walk.ts";
import { CAPABILITY, type Message } from "../wire/messages.ts";
import { FetchResponder } from "./fetch-responder.ts";
import { ListResponder } from "./list-responder.ts";
import type { Responder } from "./responder.ts";
import { SumsResponder } from "./sums-responder.ts";
import type { Services } from "./session.ts";
import { SumsMemory } from "./sums-memory.ts";

/** How long a directory that was renamed may still be found under its old name. */
const DIRECTORIES_FRESH_MS = 1_000;

/**
 * LIST, FETCH, SUMS and RECALL over a contained root: what `dray content` offers.
 * @param hides whether a path from the root, and all below it, is as if it were not there
 */
export function contentService(root: ContainedRoot, agent: string, hides: Hides = () => false): Services {
  let forgottenMs = performance.now();
  const memory = new SumsMemory();
  return {
    capabilities: CAPABILITY.content | CAPABILITY.recall,
    agent,
    respond: (request: Message, requestId: number): Responder | undefined => {
      // A list that goes by a directory's old descriptor would be complete and wrong.
      if (request.type === "list" || performance.now() - forgottenMs > DIRECTORIES_FRESH_MS) {
        forgottenMs = performance.now();
        root.forget();
      }
      if (request.type === "list")
        return new ListResponder(root, hides, request.path, request.credit, requestId);
      if (request.type === "fetch") return new FetchResponder(root, hides, request, requestId);
      if (request.type === "sums" || request.type === "recall") {
        const order = { ...request, mayRecall: request.type === "recall" };
        return new SumsResponder(root, hides, order, requestId, memory);
      }
      return undefined;
    },
  };
}
