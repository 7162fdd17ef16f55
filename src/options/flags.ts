import { SHELL_FLAGS } from "./common-options.ts";
import { shown } from "./shown.ts";
import type { Problem } from "./problem.ts";
import { didYouMean } from "./suggest.ts";
import { namedOptions, placeholderOf, positionalOptions, type CommandTable } from "./table.ts";

/** A command line taken apart. */
export interface ParsedFlags {
  /** Texts by the flag's long spelling (`--workers`), also for letters; `--verbose` counts as `--log-level`. */
  readonly given: ReadonlyMap<string, readonly string[]>;
  /** Long spellings of the options that were given by position first. */
  readonly placed: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

/**
 * Reads `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-f=value`, grouped letters and
 * `--no-switch`. What is no flag is the value of the table's next positional option, as is all that
 * follows `--`. Strict: an unknown flag, a missing value, an argument too many and a second value for an
 * option that holds one are all problems; reading goes on behind each, so that all are found.
 */
export function parseFlags(table: CommandTable, args: readonly string[]): ParsedFlags {
  return new FlagReader(table, args).read();
}

/** What one spelling of a flag does. */
interface Target {
  /** The long spelling of the option that it sets. */
  readonly sets: string;
  readonly takes: "value" | "optional value" | "nothing";
  /** What it sets when no value is written. */
  readonly text: string;
  readonly repeatable: boolean;
}

class FlagReader {
  readonly #args: readonly string[];
  readonly #targets: ReadonlyMap<string, Target>;
  /** What each argument without a flag sets, in order. */
  readonly #places: readonly { readonly target: Target; readonly shown: string }[];
  readonly #placed = new Set<string>();
  #nextPlace = 0;
  readonly #given = new Map<string, string[]>();
  readonly #spellings = new Map<string, string[]>();
  readonly #problems: Problem[] = [];
  #next = 0;

  constructor(table: CommandTable, args: readonly string[]) {
    this.#args = args;
    this.#targets = targetsOf(table);
    const withoutPlace = yieldingOptions(table, args);
    const places = positionalOptions(table).filter(({ property }) => !withoutPlace.has(property));
    this.#places = places.map((option) => ({
      target: this.#targets.get(option.flag)!,
      shown: placeholderOf(option),
    }));
  }

  read(): ParsedFlags {
    while (this.#next < this.#args.length) {
      const arg = this.#take();
      if (arg === "--") {
        while (this.#next < this.#args.length) this.#place(this.#take());
      } else if (arg.startsWith("--")) {
        this.#readFlag(...splitAtEquals(arg));
      } else if (arg.startsWith("-") && arg !== "-") {
        this.#readLetters(arg);
      } else {
        this.#place(arg);
      }
    }
    return { given: this.#given, placed: this.#placed, problems: this.#problems };
  }

  #readLetters(arg: string): void {
    const [name, value] = splitAtEquals(`-${arg}`);
    // `-workers 4` would otherwise read as `-w orkers`.
    if (arg.length > 2 && this.#targets.has(name)) return this.#unknown(arg, name, value);
    for (let at = 1; at < arg.length; at += 1) {
      const letter = `-${arg.slice(at, at + 1)}`;
      const target = this.#targets.get(letter);
      const rest = arg.slice(at + 1);
      if (target === undefined) return this.#unknown(letter, letter, rest === "" ? undefined : rest);
      if (target.takes === "value" || rest.startsWith("=")) {
        return this.#readFlag(letter, rest === "" ? undefined : rest.replace(/^=/, ""));
      }
      this.#readFlag(letter, undefined);
    }
  }

  #readFlag(spelling: string, written: string | undefined): void {
    const target = this.#targets.get(spelling);
    if (target === undefined) return this.#unknown(spelling, spelling, written);
    let text = written;
    if (target.takes === "nothing" && written !== undefined) {
      this.#problem(spelling, `takes no value, got ${shown(written)}`);
      return;
    }
    if (target.takes === "value") text ??= this.#takeValue();
    else text ??= target.text;
    if (text === undefined) {
      this.#problem(spelling, `needs a value (one that starts with - is written ${target.sets}=VALUE)`);
      return;
    }
    this.#give(target, spelling, text);
  }

  #give(target: Target, spelling: string, text: string): void {
    const texts = this.#given.get(target.sets) ?? [];
    const spellings = this.#spellings.get(target.sets) ?? [];
    this.#given.set(target.sets, texts);
    this.#spellings.set(target.sets, spellings);
    spellings.push(spelling);
    if (texts.length === 0 || target.repeatable) texts.push(text);
    else this.#problem(target.sets, `given more than once (${spellings.join(", ")})`);
  }

  #unknown(written: string, meant: string, value: string | undefined): void {
    const known = [...this.#targets.keys()].filter((spelling) => spelling.startsWith("--"));
    const suggestion = meant.startsWith("--") ? didYouMean(meant, known) : "";
    this.#problem(written, `unknown flag${suggestion}`);
    // What follows was most likely meant as its value: one mistake, one line.
    if (value === undefined) this.#takeValue();
  }

  #place(arg: string): void {
    const place = this.#places[this.#nextPlace];
    if (place === undefined) return this.#problem(shown(arg), "unexpected argument");
    const isOpenEnded = place.target.repeatable && this.#nextPlace === this.#places.length - 1;
    if (!isOpenEnded) this.#nextPlace += 1;
    if (!this.#given.has(place.target.sets)) this.#placed.add(place.target.sets);
    this.#give(place.target, place.shown, arg);
  }

  #problem(where: string, why: string): void {
    this.#problems.push({ where, why });
  }

  #take(): string {
    const arg = this.#args[this.#next] ?? "";
    this.#next += 1;
    return arg;
  }

  /** The next argument, unless it looks like a flag itself; a negative number does not. */
  #takeValue(): string | undefined {
    const next = this.#args[this.#next];
    if (next === undefined || /^-[^\d.]/.test(next)) return undefined;
    return this.#take();
  }
}

/** Those whose places are taken by what comes behind them, since another option is given. */
function yieldingOptions(table: CommandTable, args: readonly string[]): ReadonlySet<string> {
  const end = args.indexOf("--");
  const flags = (end < 0 ? args : args.slice(0, end)).map((arg) => splitAtEquals(arg)[0]);
  const given = namedOptions(table).filter(({ flag }) => flags.includes(flag));
  return new Set(given.flatMap(({ property }) => table.yields?.[property] ?? []));
}

function targetsOf(table: CommandTable): Map<string, Target> {
  const targets = new Map<string, Target>();
  const options = namedOptions(table);
  for (const { flag, alias, placeholder, means } of SHELL_FLAGS) {
    const set = options.find((option) => option.property === means?.property);
    const target: Target = {
      sets: set?.flag ?? flag,
      takes: placeholder === undefined ? "nothing" : "value",
      text: means?.text ?? "",
      repeatable: false,
    };
    targets.set(flag, target);
    if (alias !== undefined) targets.set(`-${alias}`, target);
  }
  for (const { flag, spec } of options) {
    const isSwitch = spec.type.shape === "switch";
    const target: Target = {
      sets: flag,
      takes: isSwitch ? "optional value" : "value",
      text: "true",
      repeatable: spec.type.shape === "list",
    };
    targets.set(flag, target);
    for (const alias of spec.aliases ?? []) targets.set(`-${alias}`, target);
    if (isSwitch) targets.set(`--no-${flag.slice(2)}`, { ...target, takes: "nothing", text: "false" });
  }
  return targets;
}

function splitAtEquals(arg: string): [name: string, value: string | undefined] {
  const at = arg.indexOf("=");
  return at < 0 ? [arg, undefined] : [arg.slice(0, at), arg.slice(at + 1)];
}
