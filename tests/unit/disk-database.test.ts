import { afterEach, beforeEach, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import * as fs from "node:fs";
import { type DatabaseShape, openIntact } from "../../src/disk/database.ts";
import { codeOf } from "../property/error-code.ts";
import { type TempFolder, tempFolder } from "../support/temp.ts";

const SHAPE: DatabaseShape = {
  name: "the notes",
  version: 3,
  schema: "CREATE TABLE notes (text TEXT NOT NULL)",
};

let folder: TempFolder;
beforeEach(() => {
  folder = tempFolder();
});
afterEach(() => folder[Symbol.dispose]());

const path = (): string => folder.join("notes.db");

function texts(): string[] {
  const database = openIntact(path(), SHAPE);
  try {
    return database
      .query<{ text: string }, []>("SELECT text FROM notes")
      .all()
      .map(({ text }) => text);
  } finally {
    database.close();
  }
}

test("a new one is empty, and keeps what is written", () => {
  const database = openIntact(path(), SHAPE);
  database.run("INSERT INTO notes VALUES ('one')");
  database.close();
  expect(texts()).toEqual(["one"]);
  expect(fs.readdirSync(folder.path)).toEqual(["notes.db"]);
});

test("what a process left that was killed while it made one is no damage", () => {
  for (const suffix of ["-new", "-new-journal", "-journal", "-wal"])
    fs.writeFileSync(path() + suffix, "half of it");
  expect(texts()).toEqual([]);
  expect(fs.readdirSync(folder.path)).toEqual(["notes.db"]);
});

test("while one is made, there is none under its name", () => {
  const broken = { ...SHAPE, schema: `${SHAPE.schema}; CREATE nonsense` };
  expect(codeOf(() => openIntact(path(), broken))).toBe("storage");
  expect(fs.existsSync(path())).toBe(false);
  expect(texts()).toEqual([]);
});

test.each(["", "x"])("one of %j is damaged, since none is ever begun like that", (text) => {
  fs.writeFileSync(path(), text);
  expect(codeOf(() => openIntact(path(), SHAPE))).toBe("integrity");
});

test("one of another version, or of none, is not taken", () => {
  for (const version of [0, 4]) {
    const database = new Database(path(), { create: true });
    database.run(SHAPE.schema.replace("TABLE", "TABLE IF NOT EXISTS"));
    database.run(`PRAGMA user_version = ${version}`);
    database.close();
    expect(codeOf(() => openIntact(path(), SHAPE))).toBe("integrity");
  }
});
