import { join } from "node:path";
import { DrayError } from "../errors/dray-error.ts";
import { fetchFile } from "../fetch/fetch-file.ts";
import type { FetchSetting, FetchedFile, WantedFile } from "../fetch/fetch-setting.ts";
import { type Persistence, Remote, type RemoteSettings } from "../fetch/remote.ts";
import type { FetchOptions } from "../options/fetch-options.ts";
import type { ReplicaResult } from "../report/fetch-events.ts";
import { type FetchPlace, settingFor } from "./fetch-place.ts";
import type { FetchView } from "./fetch-view.ts";

export interface GivenTask {
  options: FetchOptions;
  /** The components of the path at the server. */
  wanted: readonly string[];
  settings: RemoteSettings;
  view: FetchView;
}

/** What is fetched, when it is one file. @throws DrayError "refused" */
export function wantedFile({ options, wanted }: GivenTask): WantedFile {
  const name = wanted.at(-1);
  if (name === undefined) throw new DrayError("refused", "it is a directory");
  return { path: wanted.join("/"), components: [name], expected: options.expect };
}

export function fileSetting(place: FetchPlace, { options, view }: GivenTask): FetchSetting {
  return settingFor(place, options, view, { withSums: options.sum ?? true, syncEach: true });
}

/** Fetches a file from one server, which has it under its own name. */
export async function fetchFrom(
  { options, settings, view }: GivenTask,
  file: WantedFile,
  setting: FetchSetting,
): Promise<FetchedFile> {
  const remote = new Remote(settings);
  const persistence = persistenceOf(options, settings);
  try {
    return await fetchFile(remote, file, setting, persistence, (part) => view.kept(options.directory!, part));
  } finally {
    remote.drop(done());
  }
}

/** The end of a fetch of one file. */
export function fetchedFile(
  { options, view }: GivenTask,
  file: WantedFile,
  { outcome, sizeBytes, sha256, backup }: FetchedFile,
  replicas?: ReplicaResult[],
): void {
  const directory = options.directory!;
  const { transferredBytes, resumedBytes, seededBytes, wastedBytes } = view.counters;
  view.event({
    type: "result",
    file: file.path,
    path: join(directory, ...file.components),
    outcome,
    sizeBytes,
    bytesTransferred: transferredBytes,
    bytesResumed: resumedBytes,
    ...(seededBytes === 0 && replicas === undefined ? {} : { bytesSeeded: seededBytes }),
    ...(replicas === undefined ? {} : { bytesWasted: wastedBytes }),
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(backup === undefined ? {} : { backup: join(directory, backup) }),
    ...(replicas === undefined ? {} : { replicas }),
    durationMs: view.durationMs,
  });
}

export function persistenceOf({ attempts }: FetchOptions, settings: RemoteSettings): Persistence {
  return { attempts, signal: settings.signal, retrying: (error, retry) => settings.retrying(error, retry) };
}

/** Why connections end that are not needed any more. */
export function done(): DrayError {
  return new DrayError("interrupted", "done");
}
