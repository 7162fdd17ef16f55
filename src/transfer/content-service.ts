import type { ContainedRoot } from "../disk/contained-root.ts";
import { CAPABILITY, type Message } from "../wire/messages.ts";
import { FetchResponder } from "./fetch-responder.ts";
import { ListResponder } from "./list-responder.ts";
import type { Responder } from "./responder.ts";
import type { Services } from "./session.ts";

/** LIST and FETCH over a contained root: what `dray content` offers. */
export function contentService(root: ContainedRoot, agent: string): Services {
  return {
    capabilities: CAPABILITY.content,
    agent,
    respond: (request: Message, requestId: number): Responder | undefined => {
      if (request.type === "list") return new ListResponder(root, request.path, request.credit, requestId);
      if (request.type === "fetch") return new FetchResponder(root, request, requestId);
      return undefined;
    },
  };
}
