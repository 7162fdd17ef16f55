import type { Problem } from "./problem.ts";

/** What can be asked of a mirror, one at a time. */
interface Asked {
  sources: unknown;
  list: boolean;
  follow: string | undefined;
  cancel: string | undefined;
  retryFailed: string | undefined;
  limit: string | undefined;
  bytesPerSecond: number | undefined;
}

const FLAGS: Partial<Record<keyof Asked, string>> = {
  sources: "--sources",
  list: "--list",
  follow: "--follow",
  cancel: "--cancel",
  retryFailed: "--retry-failed",
  limit: "--limit",
};

/** Whether exactly one thing is asked. */
export function askedProblems(values: Asked): Problem[] {
  const { sources, list, follow, cancel, retryFailed, limit, bytesPerSecond } = values;
  const asked: Partial<Asked> = { sources, follow, cancel, retryFailed, limit, ...(list ? { list } : {}) };
  const flags = Object.entries(asked).flatMap(([name, value]) =>
    value === undefined ? [] : [FLAGS[name as keyof Asked]!],
  );
  if (limit !== undefined && bytesPerSecond === undefined) {
    return [{ where: "--bandwidth", why: "required with --limit; unlimited lifts a limit" }];
  }
  if (bytesPerSecond !== undefined && sources === undefined && limit === undefined) {
    return [{ where: "--bandwidth", why: "belongs to an order that is given, or to --limit" }];
  }
  if (flags.length === 1) return [];
  if (flags.length === 0) {
    const why = "required, unless an order is followed, cancelled, listed, retried or limited";
    return [{ where: "--sources", why }];
  }
  return [{ where: flags.join(", "), why: "only one of these can be asked at a time" }];
}

interface OrderWishes {
  everyMs: number | undefined;
  checksum: boolean;
  verify: boolean;
  links: string;
  delete: boolean;
  dryRun: boolean;
}

/** Whether an order's wishes go together. */
export function orderProblems(wishes: OrderWishes): Problem[] {
  const problems: Problem[] = [];
  const { everyMs, checksum, verify, links, dryRun } = wishes;
  const why = "a verification looks at what was mirrored, not at what the source has";
  if (verify && checksum) problems.push({ where: "--checksum, --verify", why });
  if (verify && wishes.delete) problems.push({ where: "--delete, --verify", why });
  if (verify && links === "copy") problems.push({ where: "--links, --verify", why });
  if (dryRun && everyMs !== undefined) {
    problems.push({ where: "--dry-run, --every", why: "a dry run is there to be read, once" });
  }
  return problems;
}
