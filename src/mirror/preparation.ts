import { type ContainedRoot, Obstacle } from "../disk/contained-root.ts";
import { failedOutcome } from "./failed-outcome.ts";
import type { DistrustedSpan, FetchReason, Job, JobItem, Outcome } from "./job.ts";
import { factsHere, inTheWay, obstacleOf, reasonToFetch, rotOf } from "./local-copy.ts";
import { publishLink, reasonToLink } from "./mirrored-link.ts";

/** A file that is to be fetched, if nothing else is found out about it. */
export interface Wanted {
  /** In the job. */
  index: number;
  item: JobItem;
  /** From the mirror's root. */
  components: string[];
  reason: FetchReason;
  /** The source's digests are to be asked for first: they may say that it is what is there. */
  isDoubtful: boolean;
}

/**
 * What can be done for a job without its source: makes directories and links, and finds out which
 * files are needed. Verifications read what is there; they let other work run in between.
 * @param outcomes takes what is settled by that
 */
export async function prepare(
  root: ContainedRoot,
  job: Job,
  distrusted: DistrustedSpan | undefined,
  outcomes: Outcome[],
): Promise<Wanted[]> {
  const wanted: Wanted[] = [];
  for (const [index, item] of job.items.entries()) {
    const components = [job.sourceDirectory, ...item.path.split("/")];
    try {
      const obstacle = job.mode.dryRun ? obstacleOf(root, components, item.kind) : undefined;
      if (obstacle !== undefined) throw obstacle;
      if (item.kind === "directory") {
        if (!job.mode.dryRun) root.hold(components, true)[Symbol.dispose]();
        outcomes[index] = { kind: "directory" };
      } else if (item.kind === "symlink") {
        outcomes[index] = link(root, components, item, job.mode.dryRun);
      } else {
        const need = job.mode.verify
          ? await needAfterReading(root, components, job.records?.[index])
          : job.isNew && !job.mode.dryRun
            ? NEW
            : needByMetadata(root, components, item, distrusted, job.mode.checksum);
        if (need === undefined) outcomes[index] = { kind: "unchanged", sizeBytes: item.sizeBytes };
        else if (job.mode.dryRun && !need.isDoubtful)
          outcomes[index] = { kind: "planned", reason: need.reason };
        else wanted.push({ index, item, components, ...need });
      }
    } catch (error) {
      // It would be deleted before, as it is before a real run gets any further.
      const isGoneByThen = job.mode.dryRun && job.mode.prunes && error instanceof Obstacle;
      outcomes[index] = isGoneByThen ? plannedAnew(item) : failedOutcome(error);
    }
  }
  return wanted;
}

function plannedAnew({ kind }: JobItem): Outcome {
  return kind === "directory" ? { kind } : { kind: "planned", reason: "new" };
}

type Need = Pick<Wanted, "reason" | "isDoubtful"> | undefined;

const NEW: Need = { reason: "new", isDoubtful: false };

function needByMetadata(
  root: ContainedRoot,
  components: readonly string[],
  item: JobItem,
  distrusted: DistrustedSpan | undefined,
  isChecksum: boolean,
): Need {
  const facts = factsHere(root, components);
  if (facts?.kind === "directory") throw inTheWay(components);
  const reason = reasonToFetch(facts, item, distrusted);
  const isDoubtful = isChecksum && facts?.kind === "file" && facts.sizeBytes === item.sizeBytes;
  if (isDoubtful) return { reason: "changed", isDoubtful };
  return reason === undefined ? undefined : { reason, isDoubtful: false };
}

async function needAfterReading(
  root: ContainedRoot,
  components: readonly string[],
  record: NonNullable<Job["records"]>[number],
): Promise<Need> {
  if (record === undefined)
    return { reason: "changed", isDoubtful: factsHere(root, components) !== undefined };
  const reason = await rotOf(root, components, record);
  return reason === undefined ? undefined : { reason, isDoubtful: false };
}

function link(root: ContainedRoot, components: readonly string[], item: JobItem, isDryRun: boolean): Outcome {
  const reason = reasonToLink(root, components, item.target);
  if (reason !== undefined && isDryRun) return { kind: "planned", reason };
  if (reason !== undefined) publishLink(root, components, item.target);
  return { kind: "linked", reason };
}
