import { Condition, type WaitOptions } from "./wait.ts";

/** One line of `--json` output. */
export type DrayEvent = { type: string } & Record<string, unknown>;

export interface ProgramOptions {
  cwd?: string;
  /** Added to the environment; `undefined` removes a variable. */
  env?: Record<string, string | undefined>;
  /** All that the program reads from stdin; nothing (an empty stream) if not given. */
  stdin?: string | Uint8Array<ArrayBuffer>;
}

export interface Exit {
  /** `null` when a signal ended the process. */
  code: number | null;
  /** The signal's name; a number for one that has none. */
  signal: NodeJS.Signals | number | null;
}

export interface Finished extends Exit {
  stdout: string;
  stderr: string;
  /** The events of `--json`; empty without it. */
  events: DrayEvent[];
}

/** How much of the end of each stream an error shows. */
const SHOWN_CHARS = 8000;

/** A running program and what it has said so far. Tests get one from `startProgram` or `startDray`. */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** Settles once the process has ended and all that it wrote has been read. */
  readonly exit: Promise<Exit>;

  private readonly child: Bun.Subprocess<"ignore" | Uint8Array<ArrayBuffer>, "pipe", "pipe">;
  private readonly title: string;
  private readonly speaksJson: boolean;
  private readonly condition = new Condition();
  private readonly seenEvents: DrayEvent[] = [];
  private stdout = "";
  private stderr = "";
  private ended: Exit | undefined;
  private fault: Error | undefined;

  constructor(command: string[], options: ProgramOptions = {}) {
    this.title = command.join(" ");
    this.speaksJson = command.includes("--json");
    this.child = Bun.spawn(command, {
      stdin: options.stdin === undefined ? "ignore" : new Uint8Array(Buffer.from(options.stdin)),
      stdout: "pipe",
      stderr: "pipe",
      env: environment(options.env),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.pid = this.child.pid;
    this.exit = this.watch();
  }

  /** The most memory that it ever had resident, in bytes; once it has ended. */
  get peakRssBytes(): number {
    const usage = this.child.resourceUsage();
    if (usage === undefined) throw new Error("it is running still");
    return usage.maxRSS;
  }

  /** The events of `--json` that have come so far. */
  get events(): readonly DrayEvent[] {
    return this.seenEvents;
  }

  /** Every event of `--json` from the first one on, until the program closes its output. */
  async *lines(options: WaitOptions = {}): AsyncGenerator<DrayEvent, void> {
    for (let next = 0; ; next++) {
      const event = await this.condition.until(
        () => this.seenEvents[next] ?? this.faultOrEnd(),
        () => `event ${next + 1} of ${this.describe()}`,
        options,
      );
      if (event === "end") return;
      yield event;
    }
  }

  /** The first event that `matches`, counting those that have come already. Throws if the program ends without it. */
  async waitFor(
    matches: (event: DrayEvent) => boolean,
    options: WaitOptions & { what?: string } = {},
  ): Promise<DrayEvent> {
    const what = options.what ?? "an event";
    return await this.until(() => this.seenEvents.find(matches), what, options);
  }

  /** The first event of this type, counting those that have come already. */
  async event(type: string, options: WaitOptions = {}): Promise<DrayEvent> {
    return await this.waitFor((event) => event.type === type, { what: `the event "${type}"`, ...options });
  }

  /** Where a server started with `--json` listens. */
  async listening(options: WaitOptions = {}): Promise<{ address: string; port: number }> {
    const { address, port } = await this.event("listening", options);
    if (typeof address !== "string" || typeof port !== "number") {
      throw new Error(`A "listening" event without address and port from ${this.describe()}`);
    }
    return { address, port };
  }

  /** The first place in stdout that matches. */
  async stdoutMatch(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    return await this.until(() => pattern.exec(this.stdout) ?? undefined, `${pattern} on stdout`, options);
  }

  /** The first place in stderr that matches. */
  async stderrMatch(pattern: RegExp, options: WaitOptions = {}): Promise<RegExpExecArray> {
    return await this.until(() => pattern.exec(this.stderr) ?? undefined, `${pattern} on stderr`, options);
  }

  stdoutText(): string {
    return this.stdout;
  }

  stderrText(): string {
    return this.stderr;
  }

  /** Sends a signal, SIGTERM if not given; does nothing when the process has ended. */
  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGTERM", options: WaitOptions = {}): Promise<Exit> {
    this.kill(signal);
    return await this.finished(options);
  }

  /** Waits for the end by itself; throws with all that was said if it does not come. */
  async finished(options: WaitOptions = {}): Promise<Finished> {
    const exit = await this.condition.until(
      () => this.ended,
      () => `the end of ${this.describe()}`,
      options,
    );
    if (this.fault !== undefined) throw this.fault;
    return { ...exit, stdout: this.stdout, stderr: this.stderr, events: [...this.seenEvents] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.exit;
  }

  private async until<T>(probe: () => T | undefined, what: string, options: WaitOptions): Promise<T> {
    return await this.condition.until(
      () => {
        const value = probe();
        if (value === undefined && this.faultOrEnd() === "end") {
          throw new Error(`The program ended without ${what}: ${this.describe()}`);
        }
        return value;
      },
      () => `${what} of ${this.describe()}`,
      options,
    );
  }

  private faultOrEnd(): "end" | undefined {
    if (this.fault !== undefined) throw this.fault;
    return this.ended === undefined ? undefined : "end";
  }

  private async watch(): Promise<Exit> {
    await Promise.all([this.readStdout(), this.readStderr(), this.child.exited]);
    // Bun gives 128 + n for a process that signal n ended.
    const signal = this.child.signalCode;
    const exit = { code: signal === null ? this.child.exitCode : null, signal };
    this.ended = exit;
    this.condition.changed();
    return exit;
  }

  private async readStdout(): Promise<void> {
    let rest = "";
    for await (const text of this.child.stdout.pipeThrough(new TextDecoderStream())) {
      this.stdout += text;
      if (this.speaksJson) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.addLine(line);
      }
      this.condition.changed();
    }
    if (rest !== "") this.addLine(rest);
  }

  private async readStderr(): Promise<void> {
    for await (const text of this.child.stderr.pipeThrough(new TextDecoderStream())) {
      this.stderr += text;
      this.condition.changed();
    }
  }

  private addLine(line: string): void {
    const event = parseEvent(line);
    if (event !== undefined) this.seenEvents.push(event);
    else
      this.fault ??= new Error(`Not a JSON event on stdout: ${JSON.stringify(line)} from ${this.describe()}`);
  }

  private describe(): string {
    const state = this.ended === undefined ? "running" : `ended with ${JSON.stringify(this.ended)}`;
    const ends = [
      "--- stdout ---",
      this.stdout.slice(-SHOWN_CHARS),
      "--- stderr ---",
      this.stderr.slice(-SHOWN_CHARS),
    ];
    return `${this.title} (${state})\n${ends.join("\n")}`;
  }
}

/** Set by test runners and CI; they change what Bun and consola do, and tests must see what users see. */
const NOT_INHERITED = new Set(["BUN_OPTIONS", "CI", "DEBUG", "FORCE_COLOR", "NODE_ENV", "TEST"]);

function environment(added: Record<string, string | undefined> = {}): Record<string, string | undefined> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("DRAY_") && !NOT_INHERITED.has(name),
  );
  return { ...Object.fromEntries(inherited), ...added };
}

function parseEvent(line: string): DrayEvent | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isEvent(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isEvent(value: unknown): value is DrayEvent {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}
