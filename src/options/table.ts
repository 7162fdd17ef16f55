import type { OptionType } from "./option-type.ts";
import { COMMON_OPTIONS } from "./common-options.ts";
import type { Problem } from "./problem.ts";

/** One option of a command. */
export interface OptionSpec<T = unknown> {
  readonly type: OptionType<T>;
  /**
   * The key in JSON, from which flag and variable derive. Only needed where the program's property
   * carries a unit that people do not write: `graceMs` is `grace` to them.
   */
  readonly name?: string;
  /** Letters for the short flag. */
  readonly aliases?: readonly string[];
  /** Stands for the value in help texts; switches have none. */
  readonly placeholder?: string;
  readonly description: string;
  /** Without one, the option is required, unless it is optional. */
  readonly default?: T;
  /** May be left out, and is then undefined. */
  readonly optional?: true;
  /** Describes a default that differs between machines. */
  readonly defaultText?: string;
  /** Never shown, neither by --print-config nor in a message. */
  readonly secret?: boolean;
  /** Why the effective value cannot be used, judged on this machine; undefined if it can. */
  check?(value: T): string | undefined;
}

type Options = Readonly<Record<string, OptionSpec>>;

type ValuesIn<O extends Options> = {
  readonly [Property in keyof O]: O[Property]["type"] extends OptionType<infer T>
    ? O[Property] extends { readonly optional: true }
      ? T | undefined
      : T
    : never;
};

/** Demands that an option's default and check fit its type. */
type Matching<O extends Options> = {
  readonly [Property in keyof O]: O[Property]["type"] extends OptionType<infer T> ? OptionSpec<T> : never;
};

/** An option together with the names it goes by. */
export interface NamedOption {
  readonly property: string;
  readonly name: string;
  readonly flag: string;
  readonly variable: string;
  /** Its place among the arguments without a flag, counted from 1; undefined if it has none. */
  readonly position: number | undefined;
  readonly spec: OptionSpec;
}

export interface CommandTable<O extends Options = Options> {
  readonly command: string;
  readonly summary: string;
  /** The shortest useful call, without the program's name: `content -p PORT -d DIR`. */
  readonly synopsis: string;
  readonly examples: readonly { readonly line: string; readonly meaning: string }[];
  readonly options: O;
  /**
   * Options that may also be given by position, without their flags, in this order: with `["bind",
   * "port"]`, `HOST PORT` means `--bind HOST --port PORT`. A last one that holds a list takes all the rest.
   */
  readonly positional?: readonly string[];
  /**
   * Options that give up their places once another one is among the arguments, by its flag: with
   * `{ from: ["host", "port"] }`, what stands behind HOST and PORT otherwise comes first beside `--from`.
   */
  readonly yields?: Readonly<Record<string, readonly string[]>>;
  /** What does not go together, or is missing in this combination: where, and why. */
  conflicts?(values: ValuesIn<O>): Problem[];
  /** Last touch on the values, for what depends on several of them. */
  complete?(values: ValuesIn<O>): ValuesIn<O>;
}

export type ValuesOf<T extends CommandTable> = ValuesIn<T["options"]>;

/** A table that holds the common options too, as commandTable makes them. */
export type FullTable = CommandTable<Options & typeof COMMON_OPTIONS>;

export type CommonValues = ValuesIn<typeof COMMON_OPTIONS>;

/** A command's table: its own options, then those that every command has. */
export function commandTable<const O extends Options>(
  table: CommandTable<O> & {
    readonly options: Matching<O>;
    readonly positional?: readonly (keyof O & string)[];
    readonly yields?: { readonly [Property in keyof O]?: readonly (keyof O & string)[] };
  },
): CommandTable<O & typeof COMMON_OPTIONS> {
  return {
    ...table,
    options: { ...table.options, ...COMMON_OPTIONS },
    complete: (values) => ({ ...values, ...table.complete?.(values) }),
  };
}

/** The table's options in the order in which help and reference list them. */
export function namedOptions(table: CommandTable): NamedOption[] {
  return Object.entries(table.options).map(([property, spec]) => {
    const name = spec.name ?? property;
    const position = (table.positional ?? []).indexOf(property) + 1;
    return {
      property,
      name,
      flag: `--${kebab(name)}`,
      variable: variablePrefix(table) + upperSnake(name),
      position: position > 0 ? position : undefined,
      spec,
    };
  });
}

/** The options that can be given by position, in the order of their places. */
export function positionalOptions(table: CommandTable): NamedOption[] {
  const positional = namedOptions(table).filter(({ position }) => position !== undefined);
  return positional.sort((a, b) => (a.position ?? 0) - (b.position ?? 0));
}

/** What stands for an option's value where it has no flag: `PORT`. */
export function placeholderOf({ name, spec }: NamedOption): string {
  return spec.placeholder ?? upperSnake(name);
}

/** What the names of a command's environment variables start with: `DRAY_SYNC_SERVER_`. */
export function variablePrefix(table: CommandTable): string {
  return `DRAY_${table.command.replaceAll("-", "_").toUpperCase()}_`;
}

function kebab(camelCase: string): string {
  return camelCase.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function upperSnake(camelCase: string): string {
  return kebab(camelCase).replaceAll("-", "_").toUpperCase();
}
