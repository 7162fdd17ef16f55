/** One part of what `npm run bench` prints. */
export interface Section {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  /** Measures it. @throws Error when somebody did not do what was to be measured */
  run(bench: Bench): Promise<SectionResult>;
}

export interface Bench {
  /** Timed rounds after a warm-up. */
  readonly rounds: number;
  /** A new directory on the file system that is to be measured. */
  readonly folder: string;
  /** What is going on, for whoever waits. */
  say: (line: string) => void;
}

export interface SectionResult {
  /** Markdown, without the heading. */
  readonly lines: readonly string[];
  /** What ran, and in which versions. */
  readonly versions: readonly string[];
  /** What each contender ran, as somebody would type it. */
  readonly commands: ReadonlyMap<string, readonly string[]>;
}
