import { mkdirSync, writeFileSync } from "node:fs";
import { type ContentServer, sourceText, Stage } from "./stage.ts";

/**
 * A mirror that has a copy of a source with the file `stays` and so many small files `docs/0`, `docs/1`…
 * @param flags more flags for `dray mirror`
 */
export async function mirroredStage(
  files: number,
  flags: string[] = [],
): Promise<{ stage: Stage; content: ContentServer }> {
  const stage = await Stage.open({ flags });
  const content = await stage.content("data", (directory) => {
    mkdirSync(`${directory}/docs`);
    writeFileSync(`${directory}/stays`, "stays");
    for (let index = 0; index < files; index++) writeFileSync(`${directory}/docs/${index}`, `file ${index}`);
  });
  const { code, stderr } = await stage.order([sourceText(content)]);
  if (code !== 0) throw new Error(`The first order ended with ${code}: ${stderr}`);
  return { stage, content };
}
