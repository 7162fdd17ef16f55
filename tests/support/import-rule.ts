import { dirname, normalize } from "node:path/posix";

/** Source texts by their path below src/, as in `wire/frame.ts`. */
export type Sources = ReadonlyMap<string, string>;

export interface ImportRule {
  /** For each folder (or file) directly in src: the folders that it may import. Its own is always allowed. */
  mayImport: Readonly<Record<string, readonly string[]>>;
  /** Who may import whom only with `import()`, or as types, but for the files excepted. */
  lazily: { from: string; to: string; except: readonly string[] };
  /** Folders of pure code: neither these modules nor text that matches these patterns. */
  pure: { folders: readonly string[]; forbiddenModules: RegExp; forbiddenCode: RegExp };
}

export interface Import {
  specifier: string;
  kind: "static" | "type" | "dynamic";
}

const STATIC = /^[ \t]*(?:import|export)\s+(type\s)?(?:[^"'`;]*?\bfrom\s*)?["']([^"']+)["']/gm;
/** As a type, `import("x").Name`, too. */
const DYNAMIC = /(?<![.\w])import\s*\(\s*(?:["'`]([^"'`]*)["'`])?/g;

/** Every import of a module, types included. One that is computed has an empty specifier. */
export function findImports(source: string): Import[] {
  const code = withoutCommentLines(source);
  const statics = [...code.matchAll(STATIC)].map(([, type, specifier = ""]): Import => ({
    specifier,
    kind: type === undefined ? "static" : "type",
  }));
  const dynamics = [...code.matchAll(DYNAMIC)].map(([, specifier = ""]): Import => ({
    specifier,
    kind: "dynamic",
  }));
  return [...statics, ...dynamics];
}

/** What breaks the rule, one line each, led by the file. */
export function importViolations(sources: Sources, rule: ImportRule): string[] {
  return [...sources].flatMap(([path, source]) => {
    const home = homeOf(path);
    const problems = findImports(source).flatMap((found) => {
      const problem = judge(path, found, sources, rule);
      return problem === undefined ? [] : [problem];
    });
    if (rule.mayImport[home] === undefined) problems.push(`the import rule does not know src/${home}`);
    if (/(^|\/)index\.ts$/.test(path)) problems.push("is an index file");
    if (rule.pure.folders.includes(home)) problems.push(...impureCode(source, rule));
    return problems.map((problem) => `${path}: ${problem}`);
  });
}

function judge(
  path: string,
  { specifier, kind }: Import,
  sources: Sources,
  rule: ImportRule,
): string | undefined {
  const home = homeOf(path);
  if (specifier === "") return "imports a computed name";
  if (!specifier.startsWith(".")) {
    const isImpure = rule.pure.folders.includes(home) && rule.pure.forbiddenModules.test(specifier);
    return isImpure ? `is pure, and imports ${specifier}` : undefined;
  }
  const target = normalize(`${dirname(path)}/${specifier}`);
  if (!sources.has(target)) return `imports ${specifier}, which is no source file in src`;
  const to = homeOf(target);
  if (to === home) return undefined;
  if (rule.mayImport[home]?.includes(to) !== true)
    return `imports ${specifier}: ${home} may not import ${to}`;
  const { lazily } = rule;
  if (kind === "static" && home === lazily.from && to === lazily.to && !lazily.except.includes(target)) {
    return `imports ${specifier} at its start: only import() is allowed there`;
  }
  return undefined;
}

function impureCode(source: string, rule: ImportRule): string[] {
  const pattern = new RegExp(rule.pure.forbiddenCode, "g");
  return [...withoutCommentLines(source).matchAll(pattern)].map(([text]) => `is pure, and uses ${text}`);
}

/** The folder directly in src, or the file itself. */
function homeOf(path: string): string {
  return path.split("/")[0] ?? path;
}

function withoutCommentLines(source: string): string {
  return source.replaceAll(/^\s*(?:\/\/|\/\*|\*).*$/gm, "");
}
