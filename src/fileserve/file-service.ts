import type { Responder } from "../transfer/responder.ts";
import { contentService } from "../transfer/content-service.ts";
import type { Services } from "../transfer/session.ts";
import { CAPABILITY, type Message } from "../wire/messages.ts";
import { CacheList } from "./cache-list.ts";
import { CachedFetch, type ServedTree } from "./cached-fetch.ts";
import type { Writes } from "./writes.ts";

/**
 * LIST from the disk, FETCH through the cache, and CACHE, which tells what is in it.
 * @param writes what clients may change; undefined: nothing. The cache looks at the disk on each use.
 */
export function fileService(tree: ServedTree, agent: string, writes?: Writes): Services {
  const content = contentService(tree.root, agent, tree.hides);
  return {
    capabilities: content.capabilities | CAPABILITY.cache | (writes === undefined ? 0 : CAPABILITY.writes),
    agent,
    respond: (request: Message, requestId, wake, client): Responder | undefined => {
      if (request.type === "fetch") return new CachedFetch(tree, request, requestId, wake);
      if (request.type === "cache") return new CacheList(tree.cache, requestId);
      const change = writes?.respond(request, requestId, wake, client);
      return change ?? content.respond(request, requestId, wake, client);
    },
  };
}
