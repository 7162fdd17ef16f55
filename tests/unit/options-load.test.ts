import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { MAX_CONFIG_BYTES } from "../../src/options/config-file.ts";
import { contentTable } from "../../src/options/content-options.ts";
import { initiateTable } from "../../src/options/initiate-options.ts";
import { mirrorTable } from "../../src/options/mirror-options.ts";
import { effective, problemsOf } from "../support/load-options.ts";
import { tempFolder } from "../support/temp.ts";

const MIRROR = ["-p", "0", "-m", "/tmp"];

test("defaults < JSON < environment < flags", async () => {
  const config = JSON.stringify({ workers: 2, queueSize: 200, grace: "2s", durability: "none" });
  const env = { DRAY_MIRROR_WORKERS: "3", DRAY_MIRROR_QUEUE_SIZE: "300", DRAY_MIRROR_GRACE: "3" };
  const args = [...MIRROR, "--config", "-", "-w", "4", "--queue-size=400"];
  expect(await effective(mirrorTable, args, { env, stdin: config })).toMatchObject({
    workers: 4,
    queueSize: 400,
    graceMs: 3000,
    durability: "none",
    digest: "xxh3",
  });
});

test("the seed's command lines are understood as they stand", async () => {
  expect(await effective(contentTable, ["-p", "9000", "-d", "."])).toMatchObject({
    port: 9000,
    directory: ".",
  });
  expect(await effective(mirrorTable, ["-p", "9100", "-m", "new", "-w", "5"])).toMatchObject({
    port: 9100,
    mirrorDirectory: "new",
    workers: 5,
  });
  for (const letter of ["-m", "-n"]) {
    const args = [letter, "10.0.0.5", "-p", "9100", "-s", "a:1:x:0,b:2:y:1"];
    expect(await effective(initiateTable, args)).toMatchObject({
      mirror: "10.0.0.5",
      port: 9100,
      sources: [
        { host: "a", port: 1, path: "x", delayMs: 0 },
        { host: "b", port: 2, path: "y", delayMs: 1000 },
      ],
    });
  }
});

test("every problem of every layer is reported at once, with the place that it came from", async () => {
  using folder = tempFolder();
  const config = folder.join("config.json");
  writeFileSync(config, JSON.stringify({ workers: 0, worker: 3, digest: "sha265" }));
  const env = { DRAY_MIRROR_THREADS: "many", DRAY_MIRROR_THREDS: "4", DRAY_MIRROR_BIND: "", DRAY_OTHER: "x" };
  const args = ["-p", "70000", "--wrokers", "4", "--grace", "5y", "extra", "--config", config, "--digest"];
  const problems = await problemsOf(mirrorTable, args, { env });
  expect(problems.sort()).toEqual(
    [
      "--wrokers: unknown flag (did you mean --workers?)",
      '"extra": unexpected argument',
      "--digest: needs a value (one that starts with - is written --digest=VALUE)",
      "--port: expected a whole number from 0 to 65535, got 70000",
      '--grace: expected a time from 0s to 1h, such as 30s, 200ms, 5m or 0.5 (seconds), got "5y"',
      '--mirror-directory: is required (give -m DIR, DRAY_MIRROR_MIRROR_DIRECTORY, or "mirrorDirectory" in --config)',
      'DRAY_MIRROR_THREADS: expected a whole number from 1 to 64, got "many"',
      "DRAY_MIRROR_THREDS: unknown variable (did you mean DRAY_MIRROR_THREADS?)",
      "DRAY_MIRROR_BIND: is set, but empty (unset it to use the default)",
      `${config}: workers: expected a whole number from 1 to 256, got 0`,
      `${config}: worker: unknown key (did you mean workers?)`,
      `${config}: digest: expected xxh3 or sha256, got "sha265" (did you mean sha256?)`,
    ].sort(),
  );
});

test("only what is near is suggested", async () => {
  const env = { DRAY_MIRROR_XYZ: "1", DRAY_MIRROR_QUEUESIZE: "1", DRAY_MIRRORS: "1" };
  expect(await problemsOf(mirrorTable, [...MIRROR, "--zzzzzz"], { env })).toEqual([
    "--zzzzzz: unknown flag",
    "DRAY_MIRROR_XYZ: unknown variable",
    "DRAY_MIRROR_QUEUESIZE: unknown variable (did you mean DRAY_MIRROR_QUEUE_SIZE?)",
  ]);
});

test("a wrong value is reported even where a higher layer overrides it", async () => {
  const stdin = JSON.stringify({ workers: "8" });
  const args = [...MIRROR, "-w", "4", "--config", "-"];
  expect(await problemsOf(mirrorTable, args, { stdin })).toEqual([
    'stdin: workers: expected a whole number from 1 to 256, got "8"',
  ]);
});

test("what the machine must provide is checked on the effective value only", async () => {
  using folder = tempFolder();
  const stdin = JSON.stringify({ port: 0, directory: folder.join("absent") });
  expect(await problemsOf(contentTable, ["--config", "-"], { stdin })).toEqual([
    `stdin: directory: there is no directory ${JSON.stringify(folder.join("absent"))}`,
  ]);
  const args = ["--config", "-", "-d", folder.path];
  expect(await effective(contentTable, args, { stdin })).toMatchObject({ directory: folder.path });
});

test("a file is no directory, neither to export nor to mirror into", async () => {
  const file = import.meta.path;
  expect(await problemsOf(contentTable, ["-p", "0", "-d", file])).toEqual([
    `--directory: ${JSON.stringify(file)} is not a directory`,
  ]);
  expect(await problemsOf(mirrorTable, ["-p", "0", "-m", file])).toEqual([
    `--mirror-directory: ${JSON.stringify(file)} is not a directory`,
  ]);
});

test("threads never outnumber workers", async () => {
  expect(await effective(mirrorTable, [...MIRROR, "-w", "2", "--threads", "5"])).toMatchObject({
    threads: 2,
  });
  expect(await effective(mirrorTable, [...MIRROR, "-w", "1"])).toMatchObject({ threads: 1 });
});

test.each([
  ["{", "is not valid JSON"],
  ["", "is not valid JSON"],
  ["[]", "expected a JSON object, got []"],
  ["null", "expected a JSON object, got null"],
  [Buffer.from([0x7b, 0xff, 0x7d]), "cannot be read"],
  ["[".repeat(500_000), "is not valid JSON"],
])("the configuration %p is refused as a whole", async (stdin, why) => {
  // One line: what is missing might have been in there.
  const problems = await problemsOf(mirrorTable, ["--config", "-"], { stdin });
  expect(problems).toHaveLength(1);
  expect(problems[0]).toStartWith("stdin: ");
  expect(problems[0]).toContain(why);
});

test("keys that every object has by nature are unknown keys, too", async () => {
  const stdin = '{"__proto__": 1, "toString": 2, "constructor": {}}';
  expect(await problemsOf(mirrorTable, [...MIRROR, "--config", "-"], { stdin })).toEqual([
    "stdin: __proto__: unknown key",
    "stdin: toString: unknown key",
    "stdin: constructor: unknown key",
  ]);
});

test("a configuration of 1 MiB is read, a larger or an endless one is not", async () => {
  using folder = tempFolder();
  const config = folder.join("config.json");
  const write = (sizeBytes: number): void => writeFileSync(config, `{"workers":7}`.padEnd(sizeBytes));
  const args = [...MIRROR, "--config", config];
  write(MAX_CONFIG_BYTES);
  expect(await effective(mirrorTable, args)).toMatchObject({ workers: 7 });
  write(MAX_CONFIG_BYTES + 1);
  expect(await problemsOf(mirrorTable, args)).toEqual([`${config}: is larger than 1048576 bytes`]);
  expect(await problemsOf(mirrorTable, ["--config", "/dev/zero"])).toEqual([
    "/dev/zero: is larger than 1048576 bytes",
  ]);
});

test("a configuration that cannot be read is named", async () => {
  for (const [path, why] of [
    ["/no/such.json", "no such file or directory"],
    ["/", "it is a directory"],
  ] as const) {
    const [problem, ...others] = await problemsOf(mirrorTable, [...MIRROR, "--config", path]);
    expect(problem).toStartWith(`${path}: cannot be read: ${why}`);
    expect(others).toEqual([]);
  }
});

test("sources in JSON are a text, texts, or objects; what is wrong inside is located", async () => {
  const good = { sources: [{ host: "[::1]", port: 1, path: "a,b", delay: "200ms" }, "b:2:y:1,c:3:z:0"] };
  const args = ["-p", "1", "--config", "-"];
  expect(await effective(initiateTable, args, { stdin: JSON.stringify(good) })).toMatchObject({
    sources: [
      { host: "::1", port: 1, path: "a,b", delayMs: 200 },
      { host: "b", port: 2, path: "y", delayMs: 1000 },
      { host: "c", port: 3, path: "z", delayMs: 0 },
    ],
  });
  const bad = { sources: [{ host: "a", port: 0, path: "x", delay: 0 }, { host: "a", prot: 1 }, "b:2:y", 7] };
  const problems = await problemsOf(initiateTable, args, { stdin: JSON.stringify(bad) });
  expect(problems).toContain("stdin: sources[0].port: expected a whole number from 1 to 65535, got 0");
  expect(problems).toContain("stdin: sources[1].path: expected a path, got nothing");
  expect(problems).toContain('stdin: sources[1]: unknown key "prot" (known: host, port, path, delay)');
  expect(problems).toContain("stdin: sources[3]: expected host:port:dirorfile:delay, comma separated, got 7");
});

test("bad items of repeated -s are counted over all of them", async () => {
  const problems = await problemsOf(initiateTable, ["-p", "1", "-s", "a:1:x:0,b:1:y", "-s", "c:0:z:0"]);
  expect(problems).toEqual([
    '--sources: item 2 "b:1:y": the delay is missing; expected host:port:dirorfile:delay, as in b:1:y:0',
    '--sources: item 3 "c:0:z:0": the port must be a whole number from 1 to 65535',
  ]);
});

test("an order has at least one source, and no more than one order can carry", async () => {
  const args = ["-p", "1", "--config", "-"];
  expect(await problemsOf(initiateTable, args, { stdin: '{"sources":[]}' })).toEqual([
    "stdin: sources: expected at least one source, got []",
  ]);
  const many = JSON.stringify({ sources: Array.from({ length: 257 }, () => "a:1:x:0") });
  const [problem] = await problemsOf(initiateTable, args, { stdin: many });
  expect(problem).toStartWith("stdin: sources: expected at most 256 sources");
});
