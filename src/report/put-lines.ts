import type { PutEvent, PutFailure, PutProgress, PutResult, PutServerResult } from "./put-events.ts";
import { safeName, safeText } from "./safe-text.ts";
import { hostAndPort } from "./source-label.ts";
import { countOf, formatBytes, formatDuration, formatRate } from "./units.ts";

/** Failures, and as many skipped items, that are shown one by one; then they are only counted. */
const MAX_SHOWN_ITEMS = 20;

type NoteEvent = Extract<PutEvent, { type: "failure" | "skipped" | "retry" | "server" }>;

/** The events of a put as lines for people: no control characters, and no more than somebody reads. */
export class PutNotes {
  readonly #shown = { failure: 0, skipped: 0, retry: 0 };

  /** Undefined where there is nothing to say. */
  of(event: NoteEvent): string | undefined {
    switch (event.type) {
      case "failure":
        return this.#counted("failure", "failures", `Cannot put ${failureText(event)}`);
      case "skipped":
        return this.#counted(
          "skipped",
          "skipped items",
          `Skipped ${safeName(event.file)}: ${safeText(event.reason)}`,
        );
      case "retry": {
        const { host, port, file, message, attempt, attempts } = event;
        const what = `${safeName(file)} to ${hostAndPort(host, port)}: ${safeText(message)}`;
        return this.#counted(
          "retry",
          "retries",
          `Cannot put ${what} (trying again, ${attempt + 1} of ${attempts})`,
        );
      }
      case "server":
        if (event.error === undefined) return undefined;
        return `Cannot put files on ${hostAndPort(event.host, event.port)}: ${safeText(event.error)}`;
    }
  }

  #counted(kind: "failure" | "skipped" | "retry", plural: string, line: string): string | undefined {
    const shown = (this.#shown[kind] += 1);
    if (shown <= MAX_SHOWN_ITEMS) return line;
    return shown > MAX_SHOWN_ITEMS + 1
      ? undefined
      : `More ${plural} follow; from here on they are only counted`;
  }
}

/** `a.txt to 10.0.0.2:9000: it belongs to another client`. */
function failureText({ file, host, port, message }: PutFailure): string {
  const where = host === undefined || port === undefined ? "" : ` to ${hostAndPort(host, port)}`;
  return `${safeName(file)}${where}: ${safeText(message)}`;
}

/** `Progress: 12 of 40 files, 1.20 GiB of 2.67 GiB sent to 2 servers`. */
export function putProgressLine({ files, bytes, servers }: PutProgress): string {
  const done = servers.reduce((sum, server) => sum + server.files, 0);
  const there = servers.reduce((sum, server) => sum + server.bytesTransferred + server.bytesResumed, 0);
  const total = countOf(files * servers.length, "file");
  return `Progress: ${done} of ${total}, ${formatBytes(there)} of ${formatBytes(bytes * servers.length)}`;
}

/** The end of a put for people, newline at its end. */
export function putResultText(result: PutResult): string {
  const seconds = result.durationMs / 1000;
  const rate = seconds > 0 ? `, ${formatRate(result.bytesTransferred / seconds)}` : "";
  const lines = result.servers.map((server) => serverLine(server, result.files));
  const resumed = result.bytesResumed > 0 ? `, ${formatBytes(result.bytesResumed)} were there already` : "";
  lines.push(
    `${formatBytes(result.bytesTransferred)} sent in ${formatDuration(result.durationMs)}${rate}${resumed}`,
  );
  if (result.skipped > 0) lines.push(`${countOf(result.skipped, "item")} skipped`);
  if (result.failed > 0) {
    lines.push("Failed:", ...result.failures.map((failure) => `  ${failureText(failure)}`));
    const unlisted = result.failed - result.failures.length;
    if (unlisted > 0) lines.push(`  … and ${unlisted} more (--json prints every one as it happens)`);
  }
  return `${lines.join("\n")}\n`;
}

function serverLine(server: PutServerResult, wanted: number): string {
  const { host, port, status, files, bytes } = server;
  const count = files === wanted ? countOf(files, "file") : `${files} of ${countOf(wanted, "file")}`;
  return `${hostAndPort(host, port)}: ${status}, ${count}, ${formatBytes(bytes)}`;
}
