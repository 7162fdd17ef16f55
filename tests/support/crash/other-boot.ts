import * as fs from "node:fs";
import { currentBootId } from "../../../src/disk/boot-id.ts";

const OTHER_BOOT = "00000000-0000-0000-0000-000000000000";

/** What was written in this boot of the machine was written in another one, if the file is there. */
export function pretendToHaveBooted(path: string): void {
  if (!fs.existsSync(path)) return;
  fs.writeFileSync(path, fs.readFileSync(path, "latin1").replaceAll(currentBootId(), OTHER_BOOT), "latin1");
}
