import { DrayError } from "../../errors/dray-error.ts";
import type { ControlRequest } from "../control-lines.ts";
import type { Agent } from "./agent.ts";

/** What a running agent answers on its control socket. @throws DrayError "unsupported", "refused" */
export function* answerControl(agent: Agent, request: ControlRequest): Generator<object> {
  switch (request.type) {
    case "status": {
      const { state, peer, server, hold } = agent.status();
      yield {
        type: "client",
        state,
        ...(peer === undefined ? {} : { peer, server }),
        ...(hold === undefined
          ? {}
          : { held: hold.why, heldFiles: hold.files, approvable: hold.isApprovable }),
      };
      for (const file of agent.files()) yield { type: "file", ...file };
      return;
    }
    case "approve": {
      const files = agent.approve();
      if (files === "not-approvable") {
        throw new DrayError(
          "refused",
          `${agent.status().hold?.why ?? "it is held"}: that cannot be approved`,
        );
      }
      yield { type: "approved", files };
      return;
    }
    case "bring-back":
      yield { type: "brought-back", files: agent.bringBack() };
      return;
    default:
      throw new DrayError("unsupported", `a sync client cannot answer ${JSON.stringify(request.type)}`);
  }
}
