import { asDrayError } from "../errors/dray-error.ts";
import type { FetchSetting, FetchedFile, WantedFile } from "./fetch-setting.ts";
import { FileTransfer } from "./file-transfer.ts";
import { type Persistence, type Remote, persist } from "./remote.ts";

/** What is left of a file that could not be brought to its end. */
export interface KeptPart {
  partName: string;
  bytes: number;
  sizeBytes: number;
}

/**
 * Fetches one file.
 * @param kept told when it fails, or is interrupted, and what came is kept
 * @throws DrayError
 */
export async function fetchFile(
  remote: Remote,
  file: WantedFile,
  setting: FetchSetting,
  persistence: Persistence,
  kept: (part: KeptPart) => void,
): Promise<FetchedFile> {
  const transfer = new FileTransfer(file, setting);
  try {
    return await persist(remote, persistence, (client, progressed) => transfer.attempt(client, progressed));
  } catch (error) {
    if (transfer.kept !== undefined) kept(transfer.kept);
    throw asDrayError(error);
  } finally {
    await transfer.park();
  }
}
