/**
 * Paths by the directories that they are in, so that what is at and below one is found without looking
 * at all others. A path may be a name of its own and a directory of others at the same time. Pure.
 */
export class NameTree {
  readonly #names = new Set<string>();
  /** What is directly in each directory: paths from the root, of names and of directories. */
  readonly #inside = new Map<string, Set<string>>();

  add(name: string): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    if (this.#inside.has(name)) return;
    for (let path = name; path !== ROOT; path = directoryOf(path)) {
      const inside = this.#inside.get(directoryOf(path));
      if (inside !== undefined) return void inside.add(path);
      this.#inside.set(directoryOf(path), new Set([path]));
    }
  }

  delete(name: string): void {
    if (!this.#names.delete(name) || this.#inside.has(name)) return;
    for (let path = name; path !== ROOT; path = directoryOf(path)) {
      const directory = directoryOf(path);
      const inside = this.#inside.get(directory)!;
      inside.delete(path);
      if (inside.size > 0) return;
      this.#inside.delete(directory);
      if (this.#names.has(directory)) return;
    }
  }

  /** How many directories are known. */
  get directories(): number {
    return this.#inside.size;
  }

  /** The name itself, if it is one, and all names below it; "" is above all. */
  *from(path: string): Generator<string, void> {
    if (this.#names.has(path)) yield path;
    for (const inside of this.#inside.get(path) ?? []) yield* this.from(inside);
  }
}

const ROOT = "";

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
