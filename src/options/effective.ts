import * as z from "zod";
import { namedOptions, type CommandTable, type OptionSpec, type ValuesOf } from "./table.ts";

const MASK = "********";

/** The options as a JSON configuration that `--config` takes back; secrets are masked. */
export function printConfig<T extends CommandTable>(table: T, values: ValuesOf<T>): string {
  const byProperty: Readonly<Record<string, unknown>> = values;
  const config = namedOptions(table).flatMap(({ name, property, spec }): [string, unknown][] => {
    const value = byProperty[property];
    if (value === undefined) return [];
    return [[name, spec.secret === true ? MASK : z.encode(spec.type.schema(), value)]];
  });
  return JSON.stringify(Object.fromEntries(config), null, 2);
}

/** The JSON Schema of a command's `--config` file. Nothing in it is required: flags can give the rest. */
export function configSchema(table: CommandTable): string {
  const properties = namedOptions(table).map(({ name, spec }) => [name, propertySchema(spec)]);
  return JSON.stringify(
    {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: `dray ${table.command}`,
      description: table.summary,
      type: "object",
      properties: Object.fromEntries(properties),
      additionalProperties: false,
    },
    null,
    2,
  );
}

function propertySchema({ type, description, secret, default: value, defaultText }: OptionSpec): object {
  const { $schema: _, ...schema } = z.toJSONSchema(type.schema(), { io: "input" });
  const selfEvident = type.choices !== undefined || type.shape === "switch";
  return {
    description: selfEvident ? description : `${description}. Expects ${type.expects}.`,
    ...schema,
    ...(secret === true ? { writeOnly: true } : {}),
    ...(value === undefined || defaultText !== undefined ? {} : { default: z.encode(type.schema(), value) }),
  };
}
