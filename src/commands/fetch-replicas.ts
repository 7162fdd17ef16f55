import { EXIT } from "../errors/codes.ts";
import type { FetchSetting, WantedFile } from "../fetch/fetch-setting.ts";
import type { Replica } from "../fetch/replica.ts";
import { ReplicatedFetch } from "../fetch/replicated-fetch.ts";
import type { DialTarget } from "../net/dial.ts";
import type { ReplicaEvent, ReplicaResult } from "../report/fetch-events.ts";
import { FetchPlace } from "./fetch-place.ts";
import { type GivenTask, fetchFrom, fetchedFile, fileSetting, wantedFile } from "./fetch-given.ts";

/** `fetch --from`: one file from several servers. @returns the exit code */
export async function fetchFromSeveral(given: GivenTask, targets: readonly DialTarget[]): Promise<number> {
  using place = new FetchPlace(given.options.directory!);
  await fetchReplicated(given, targets, wantedFile(given), fileSetting(place, given));
  return EXIT.ok;
}

/**
 * Fetches a file from all of these, and from those that its manifest names.
 * @throws DrayError; "not-found" when nobody has it
 */
export async function fetchReplicated(
  given: GivenTask,
  targets: readonly DialTarget[],
  file: WantedFile,
  setting: FetchSetting,
): Promise<void> {
  const { options, settings, view } = given;
  const { timeoutMs, patienceMs, stallMs } = options;
  const { client, signal } = settings;
  // Whoever may write a manifest could name a server of his own, and collect the tokens of others.
  const named = new Set(targets.map(({ host }) => host.toLowerCase()));
  const mayFollow = ({ host }: DialTarget): boolean =>
    options.follow || client.security?.token === undefined || named.has(host.toLowerCase());
  const limits = { client, timeoutMs, patienceMs, stallMs, mayFollow, signal };
  const run = new ReplicatedFetch(targets, file, setting, limits, {
    replica: ({ target }, status, reason) => view.event(replicaEvent(target, status, reason)),
    kept: (part) => view.kept(options.directory!, part),
  });
  view.replicas = run.replicas;
  const fetched = await run.run();
  if ("alone" in fetched) {
    const { target } = fetched.alone;
    fetched.alone.status = "used";
    const ownFile = await fetchFrom({ ...given, settings: { ...settings, target } }, file, setting);
    fetched.alone.verifiedBytes = view.counters.transferredBytes;
    return fetchedFile(given, file, ownFile, run.replicas.map(replicaResult));
  }
  fetchedFile(given, file, fetched, run.replicas.map(replicaResult));
}

function replicaEvent(
  { host, port }: DialTarget,
  status: ReplicaEvent["status"],
  reason: string | undefined,
): ReplicaEvent {
  return { type: "replica", host, port, status, ...(reason === undefined ? {} : { reason }) };
}

function replicaResult(replica: Replica): ReplicaResult {
  const { target, status, verifiedBytes, wastedBytes, error, culprit } = replica;
  return {
    ...target,
    status,
    bytes: verifiedBytes,
    bytesWasted: wastedBytes,
    ...(error === undefined ? {} : { error }),
    ...(culprit === undefined ? {} : { culprit }),
  };
}
