import { DrayError, asDrayError } from "../errors/dray-error.ts";
import { delayAfterAttempt } from "../net/backoff.ts";
import { Client, type ClientSettings } from "../transfer/client.ts";
import { decodeManifest } from "../wire/manifest-codec.ts";
import { MANIFEST_LIMITS, type Manifest } from "../wire/manifest.ts";
import { CAPABILITY, TO_END } from "../wire/messages.ts";
import { manifestPath } from "../wire/split-names.ts";
import { askFacts } from "./file-transfer.ts";
import type { ReplicaAnswer, WholeFileFacts } from "./identity.ts";
import { pause } from "./pause.ts";
import type { Replica } from "./replica.ts";

/** Once somebody has it, the others are waited for so long. */
const GRACE_MS = 1_000;
const BACKOFF = { attempts: Number.POSITIVE_INFINITY, firstDelayMs: 250, maxDelayMs: 5_000 };

export interface InquirySettings {
  path: string;
  client: ClientSettings;
  /** How long to try to reach anybody who has the file. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** What one replica answered, over the connection that is kept for its data. */
export type Answer = ReplicaAnswer<Manifest>;

interface Question {
  replica: Replica;
  answer: Answer | undefined;
  /** It failed at least once; the error of the last attempt. */
  error: DrayError | undefined;
  /** Nobody tries any more. */
  isOver: boolean;
  stop: AbortController;
}

/** Asks replicas what they have of a file: all at once, each again and again while that can help. */
export class ReplicaInquiry {
  readonly #settings: InquirySettings;
  readonly #questions: Question[] = [];
  readonly #shelf = new ManifestShelf();
  #changed = Promise.withResolvers<void>();
  /** Told of answers that come after `answers` has been asked for. */
  onLate: ((answer: Answer, replica: Replica) => void) | undefined;
  /** Told when there is nobody left who may answer. */
  onSilence: (() => void) | undefined;

  constructor(settings: InquirySettings) {
    this.#settings = settings;
  }

  /** Asks one more. Its client stays open with the replica once it has answered. */
  ask(replica: Replica): void {
    const stop = new AbortController();
    const question: Question = { replica, answer: undefined, error: undefined, isOver: false, stop };
    this.#questions.push(question);
    void this.#pursue(question);
  }

  /** The answers so far. */
  get answers(): Answer[] {
    return this.#questions.flatMap(({ answer }) => answer ?? []);
  }

  /** Why somebody has not answered, or not yet. */
  errorOf(replica: Replica): DrayError | undefined {
    const question = this.#questions.find((asked) => asked.replica === replica);
    return question?.answer === undefined ? question?.error : undefined;
  }

  /** Whether somebody may answer still. */
  get isOpen(): boolean {
    return this.#questions.some(({ isOver }) => !isOver);
  }

  /** Nothing more is wanted of this one. */
  stopAsking(replica: Replica): void {
    for (const question of this.#questions) if (question.replica === replica) question.stop.abort();
  }

  /** Nothing more is wanted of anybody. */
  close(): void {
    this.onLate = undefined;
    this.onSilence = undefined;
    for (const { stop } of this.#questions) stop.abort();
  }

  /**
   * Resolves when all have answered, or failed for once, and some of them have the file; when a while has passed since the
   * first one that has it; or when time is up.
   * @throws DrayError "interrupted"
   */
  async settled(): Promise<void> {
    const { timeoutMs, signal } = this.#settings;
    const untilMs = performance.now() + timeoutMs;
    let graceMs: number | undefined;
    for (;;) {
      signal.throwIfAborted();
      const nowMs = performance.now();
      const isFound = this.answers.some(({ file, manifest }) => file !== undefined || manifest !== undefined);
      if (isFound) graceMs ??= nowMs + GRACE_MS;
      const isWaiting = this.#questions.some(({ answer, error, isOver }) =>
        isFound ? !isOver && answer === undefined && error === undefined : !isOver,
      );
      const limitMs = Math.min(untilMs, graceMs ?? untilMs);
      if (!isWaiting || nowMs >= limitMs) return;
      await this.#change(limitMs - nowMs);
    }
  }

  async #change(limitMs: number): Promise<void> {
    const { signal } = this.#settings;
    const timer = Promise.withResolvers<void>();
    const wake = setTimeout(timer.resolve, limitMs);
    signal.addEventListener("abort", () => timer.resolve(), { once: true });
    try {
      await Promise.race([this.#changed.promise, timer.promise]);
    } finally {
      clearTimeout(wake);
    }
  }

  async #pursue(question: Question): Promise<void> {
    const signal = AbortSignal.any([this.#settings.signal, question.stop.signal]);
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        question.answer = await this.#askOnce(question.replica, signal);
        break;
      } catch (error) {
        const known = asDrayError(error);
        if (signal.aborted) break;
        question.error = known;
        if (!known.retryable) break;
        this.#tellChange();
        const delayMs = delayAfterAttempt(BACKOFF, attempt, Math.random()) ?? 0;
        await pause(Math.max(delayMs, known.retryAfterMs), signal).catch(() => {}); // the loop looks at it
      }
    }
    question.isOver = true;
    this.#tellChange();
    if (question.answer !== undefined) this.onLate?.(question.answer, question.replica);
    if (!this.isOpen) this.onSilence?.();
  }

  #tellChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async #askOnce(replica: Replica, signal: AbortSignal): Promise<Answer> {
    const { path, client: settings } = this.#settings;
    const client = await Client.connect(replica.target, settings);
    const stop = (): void => client.close(new DrayError("interrupted", "stopped"));
    try {
      signal.throwIfAborted();
      signal.addEventListener("abort", stop);
      client.require(CAPABILITY.content, "files");
      const [file, manifest] = await Promise.all([factsIfThere(client, path), this.#manifest(client, path)]);
      replica.client = client;
      return { replica: replica.id, file, manifest };
    } catch (error) {
      client.close();
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async #manifest(client: Client, path: string): Promise<Manifest | "damaged" | undefined> {
    try {
      return this.#shelf.keep(await fetchManifest(client, path));
    } catch (error) {
      const { code } = asDrayError(error);
      if (!client.isOpen) throw error;
      if (code === "not-found" || code === "name" || code === "refused") return undefined;
      if (code === "integrity" || code === "unsupported" || code === "changed") return "damaged";
      throw error;
    }
  }
}

/** Servers that are of one mind share one manifest in our memory. */
class ManifestShelf {
  readonly #kept = new Map<string, Manifest>();

  /** @throws DrayError "integrity", "unsupported" */
  keep(bytes: Uint8Array): Manifest {
    const key = Bun.SHA256.hash(bytes, "hex");
    let manifest = this.#kept.get(key);
    if (manifest === undefined) this.#kept.set(key, (manifest = decodeManifest(bytes)));
    return manifest;
  }
}

/** The manifest of a split file, as it is stored. @throws DrayError "not-found"; "integrity" for what is far too large */
export async function fetchManifest(client: Client, path: string): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  let filled = 0;
  const range = { path: manifestPath(path), offset: 0, length: TO_END };
  await client.fetch(
    { ...range, delayMs: 0, digest: "sha256" },
    {
      head: ({ sizeBytes }) => {
        if (sizeBytes > MANIFEST_LIMITS.manifestBytes) {
          client.close(new DrayError("protocol", "its manifest is far too large"));
          throw new DrayError("integrity", "its manifest is far too large");
        }
        bytes = new Uint8Array(sizeBytes);
      },
      piece: (piece) => {
        bytes.set(piece, filled);
        filled += piece.length;
      },
      complete: () => {},
    },
  );
  return bytes;
}

async function factsIfThere(client: Client, path: string): Promise<WholeFileFacts | undefined> {
  try {
    return await askFacts(client, path);
  } catch (error) {
    const { code } = asDrayError(error);
    if (client.isOpen && (code === "not-found" || code === "refused" || code === "name")) return undefined;
    throw error;
  }
}
