/** Which of a source's files an order is for. */
export interface FilterPatterns {
  /** Nothing means everything. */
  include: readonly string[];
  exclude: readonly string[];
}

/**
 * Globs over the paths of a listing (`*`, `**`, `?`, `[…]`, `{a,b}`). A pattern without a slash is
 * for names at any depth; with one, for the whole path from the source's root. A pattern that matches
 * a directory is for all below it. What is excluded stays so, whatever includes it. Pure.
 */
export class NameFilter {
  readonly #include: readonly Pattern[];
  readonly #exclude: readonly Pattern[];

  constructor(patterns: FilterPatterns) {
    this.#include = patterns.include.map(patternOf);
    this.#exclude = patterns.exclude.map(patternOf);
  }

  /** @param path from the source's root, canonical */
  takes(path: string): boolean {
    if (this.#exclude.length === 0 && this.#include.length === 0) return true;
    const components = path.split("/");
    if (this.#exclude.some((pattern) => pattern.covers(components))) return false;
    // A directory that no pattern includes is made when a file in it is taken, and not before.
    return this.#include.length === 0 || this.#include.some((pattern) => pattern.covers(components));
  }
}

interface Pattern {
  covers(components: readonly string[]): boolean;
}

function patternOf(text: string): Pattern {
  const trimmed = text.replace(/^\.?\/+/, "").replace(/\/+$/, "");
  const glob = new Bun.Glob(trimmed);
  if (!trimmed.includes("/")) {
    return { covers: (components) => components.some((component) => glob.match(component)) };
  }
  return {
    covers: (components) =>
      components.some((_, index) => glob.match(components.slice(0, index + 1).join("/"))),
  };
}
