import { DrayError } from "../errors/dray-error.ts";

/** One thing that is wrong with the options: `--workers`, `config.json: workers`, `DRAY_MIRROR_WORKERS`. */
export interface Problem {
  readonly where: string;
  readonly why: string;
}

/** Everything that is wrong with the options of a command, from all layers at once. */
export class OptionsError extends DrayError {
  readonly problems: readonly Problem[];
  /** Whether JSON Lines were asked for, as far as that could be told. */
  readonly json: boolean;

  constructor(problems: readonly Problem[], json: boolean) {
    super("usage", problems.map(({ where, why }) => `${where}: ${why}`).join("\n"));
    this.problems = problems;
    this.json = json;
  }
}
