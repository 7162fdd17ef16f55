import { mkdirSync } from "node:fs";
import { ContainedRoot } from "../disk/contained-root.ts";
import { withContext } from "../errors/dray-error.ts";
import type { FetchSetting } from "../fetch/fetch-setting.ts";
import { FileSums } from "../fetch/file-sums.ts";
import type { FetchOptions } from "../options/fetch-options.ts";
import { THREAD_URL } from "../thread-url.ts";
import type { FetchView } from "./fetch-view.ts";

/** Where everything goes. Made when the first file is known to be there, and not before. */
export class FetchPlace implements Disposable {
  readonly sums = new FileSums(THREAD_URL);
  readonly #directory: string;
  #root: ContainedRoot | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get root(): ContainedRoot {
    if (this.#root !== undefined) return this.#root;
    try {
      mkdirSync(this.#directory, { recursive: true });
      return (this.#root = new ContainedRoot(this.#directory));
    } catch (error) {
      throw withContext(`cannot use ${this.#directory} as the directory to save to`, error);
    }
  }

  [Symbol.dispose](): void {
    this.sums.close();
    this.#root?.close();
  }
}

export function settingFor(
  place: FetchPlace,
  { overwrite }: FetchOptions,
  view: FetchView,
  choice: Pick<FetchSetting, "withSums" | "syncEach">,
): FetchSetting {
  return {
    ...choice,
    sums: place.sums,
    overwrite,
    counters: view.counters,
    get root() {
      return place.root;
    },
    started: (file, sizeBytes, bytesResumed) => view.started(file, sizeBytes, bytesResumed),
    startedOver: (file, reason) => view.event({ type: "restarted", file, reason }),
  };
}
