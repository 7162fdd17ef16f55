import { type BenchData, type DataName, makeData } from "./data.ts";
import { rowLines } from "./markdown.ts";
import { measure } from "./measure.ts";
import { ROWS } from "./rows.ts";
import type { Section } from "./section.ts";

/** A section for each row. @param folder where the data is made, once for all that copy the same */
export function copySections(folder: string): readonly Section[] {
  const made = new Map<DataName, BenchData>();
  return ROWS.map((row) => ({
    name: row.name,
    title: row.title,
    async run({ rounds, say }) {
      const data = made.get(row.data) ?? makeData(row.data, folder);
      made.set(row.data, data);
      const measured = await measure(row, data, folder, rounds, say);
      const limits = (await row.limits?.(data, folder)) ?? [];
      return {
        lines: rowLines(row, data, measured, limits),
        versions: measured.flatMap(({ contender }) => contender.version ?? []),
        commands: new Map(measured.map(({ contender }) => [contender.name, contender.commands])),
      };
    },
  }));
}
