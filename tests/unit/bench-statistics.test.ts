import { expect, test } from "bun:test";
import { rowLines } from "../bench/markdown.ts";
import type { Measured } from "../bench/measure.ts";
import type { Row } from "../bench/rows.ts";
import { summarize, timesAsFast } from "../bench/statistics.ts";

test("summarizes odd and even counts, in any order", () => {
  expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(summarize([10, 4, 1, 2])).toEqual({ median: 3, min: 1, max: 10 });
  expect(summarize([7])).toEqual({ median: 7, min: 7, max: 7 });
  expect(() => summarize([])).toThrow(RangeError);
});

test("who takes half the time is twice as fast", () => {
  expect(timesAsFast(summarize([1]), summarize([2]))).toBe(2);
});

test("a table has every contender, our ratio to it, whether the goal was reached, and what to doubt", () => {
  const row: Row = {
    name: "x",
    title: "Something",
    data: "large",
    keepsCopy: false,
    contenders: [],
    goals: [
      { dray: "dray", peer: "rsync", atLeast: 2 },
      { dray: "dray", peer: "cp -r", atLeast: 0.6, wall: "There is a wall." },
      { dray: "dray", peer: "not installed", atLeast: 9 },
    ],
  };
  const measured = (name: string, seconds: number[]): Measured => ({
    contender: {
      name,
      version: undefined,
      commands: [],
      destination: "",
      daemons: [],
      copy: async () => ({ peakBytes: 0 }),
    },
    seconds,
    cpuSeconds: seconds.map((one) => 2 * one),
    clientPeakBytes: 7 * 1024 ** 2,
    peakBytes: name === "dray" ? [{ name: "mirror", bytes: 100 * 1024 ** 2 }] : [],
  });
  const all = [measured("dray", [2, 2, 2]), measured("rsync", [5, 3, 9]), measured("cp -r", [1, 1, 1])];
  const work = [
    { name: "reading", seconds: 1 },
    { name: "writing", seconds: 1.5 },
  ];
  const limits = [
    { dray: "dray", work, cores: 2 },
    { dray: "not measured", work, cores: 2 },
  ];
  expect(rowLines(row, { path: "", files: 1, bytes: 100 * 1024 ** 2 }, all, limits)).toEqual([
    "|         | median | min–max     | rate      | CPU     | memory | `dray` is     |",
    "| ------- | ------ | ----------- | --------- | ------- | ------ | ------------- |",
    "| `dray`  | 2.00 s | 2.00–2.00 s | 50 MiB/s  | 4.00 s  | 7 MiB  |               |",
    "| `rsync` | 5.00 s | 3.00–9.00 s | 20 MiB/s  | 10.00 s | 7 MiB  | 2.50x as fast |",
    "| `cp -r` | 1.00 s | 1.00–1.00 s | 100 MiB/s | 2.00 s  | 7 MiB  | 0.50x as fast |",
    "",
    "- Goal: `dray` at least 2x as fast as `rsync`: reached (2.50x)",
    "- Goal: `dray` at least 0.6x as fast as `cp -r`: MISSED (0.50x). There is a wall.",
    "- The machine's limit for `dray`: 1.25 s, that is 2.50 CPU seconds (reading 1.00, writing 1.50) on 2 cores that are never idle; it is at 63% of that rate",
    "- Most memory ever resident, `dray`: mirror 100 MiB",
    "- Noisy: the slowest round of `rsync` took 3.0x as long as its fastest one",
  ]);
});
