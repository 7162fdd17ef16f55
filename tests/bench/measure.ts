import { diffTrees } from "../support/diff.ts";
import { peakRssBytes } from "../support/memory.ts";
import { endStartedPrograms } from "../support/process.ts";
import type { Contender } from "./contender.ts";
import { machineCpuSeconds } from "./cpu-time.ts";
import type { BenchData } from "./data.ts";
import type { Row } from "./rows.ts";
import { clearAway, leavePageCache, newFolder, settle } from "./settle.ts";

export interface Measured {
  contender: Contender;
  /** One for each round. */
  seconds: number[];
  /** Of all processors and all processes, one for each round. */
  cpuSeconds: number[];
  /** The most that a program which did the copying had resident, in bytes. */
  clientPeakBytes: number;
  /** The most that each daemon ever had resident during the row, in bytes. */
  peakBytes: { name: string; bytes: number }[];
}

/**
 * Measures a row: a warm-up round whose copies are compared with the source, then `rounds` rounds in
 * which every contender has its turn.
 * @param folder where each contender gets a directory, on the file system that is to be measured
 */
export async function measure(
  row: Row,
  data: BenchData,
  folder: string,
  rounds: number,
  say: (line: string) => void,
): Promise<Measured[]> {
  try {
    const measured = await openContenders(row, data, folder, say);
    for (let round = 0; round <= rounds; round++) {
      for (const one of measured) {
        const { contender } = one;
        await settle(data.bytes);
        if (row.isCold === true) await leavePageCache(data);
        const startedCpuSeconds = machineCpuSeconds();
        const startedMs = performance.now();
        const { peakBytes, seconds } = await contender.copy();
        const took = seconds ?? (performance.now() - startedMs) / 1000;
        const cpuSeconds = machineCpuSeconds() - startedCpuSeconds;
        say(`  ${round === 0 ? "warm-up" : `round ${round}`}  ${took.toFixed(2)} s  ${contender.name}`);
        if (round === 0) {
          await compare(contender, data);
        } else {
          one.seconds.push(took);
          one.cpuSeconds.push(cpuSeconds);
          one.clientPeakBytes = Math.max(one.clientPeakBytes, peakBytes);
        }
        if (!row.keepsCopy) clearAway(data, contender.destination, round);
      }
    }
    for (const { contender, peakBytes } of measured) {
      for (const { name, pid } of contender.daemons) peakBytes.push({ name, bytes: peakRssBytes(pid) });
    }
    return measured;
  } finally {
    await endStartedPrograms();
  }
}

async function openContenders(
  row: Row,
  data: BenchData,
  folder: string,
  say: (line: string) => void,
): Promise<Measured[]> {
  const measured: Measured[] = [];
  for (const kind of row.contenders) {
    if (Bun.which(kind.program) === null) {
      say(`  ${kind.program} is not installed: left out`);
      continue;
    }
    const place = { source: data.path, folder: newFolder(folder, row.name) };
    measured.push({
      contender: await kind.open(place),
      seconds: [],
      cpuSeconds: [],
      clientPeakBytes: 0,
      peakBytes: [],
    });
  }
  return measured;
}

async function compare(contender: Contender, data: BenchData): Promise<void> {
  const differences = (await diffTrees(data.path, contender.destination)).filter(isAboutContents);
  if (differences.length === 0) return;
  throw new Error(`${contender.name} did not copy everything:\n${differences.join("\n")}`);
}

/** Not everybody keeps times and modes. */
function isAboutContents(difference: string): boolean {
  return !/ has mtime | is (?:not )?executable/.test(difference);
}
