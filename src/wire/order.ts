import { z } from "zod";

/**
 * What an initiator and a mirror say to each other, carried as JSON in ORDER and EVENT frames.
 * The same event objects are what `initiate --json` prints, one a line.
 */

export const MAX_SOURCES_PER_ORDER = 256;
/** Failures that are sent as events and listed in the result, and skipped items that are sent; more are counted. */
export const MAX_LISTED_FAILURES = 1000;

/** The limits of a bandwidth limit. The smallest still moves each of 256 workers' connections twice a minute. */
export const MIN_BYTES_PER_SECOND = 16 * 1024;
export const MAX_BYTES_PER_SECOND = 2 ** 40;
const bytesPerSecondSchema = z.int().min(MIN_BYTES_PER_SECOND).max(MAX_BYTES_PER_SECOND);

export const orderSourceSchema = z.strictObject({
  /** A name or an address: it becomes part of a directory's name, so it holds nothing else. */
  host: z
    .string()
    .max(253)
    .regex(/^[A-Za-z0-9._:%-]+$/, "not a host name or address"),
  port: z.int().min(1).max(65535),
  /** `/`-separated, relative; `.` is everything that the server exports. */
  path: z.string().min(1).max(4096),
  delayMs: z.int().min(0).max(86_400_000),
});
export type OrderSource = z.infer<typeof orderSourceSchema>;

const MAX_PATTERNS = 256;
const globSchema = z.string().min(1).max(1024);

export const orderRequestSchema = z.strictObject({
  sources: z.array(orderSourceSchema).min(1).max(MAX_SOURCES_PER_ORDER),
  /** How often a file is tried that fails in a way that may pass. */
  attempts: z.int().min(1).max(100),
  /** How long a source that was there may be gone before the rest of its files is given up. */
  patienceMs: z
    .int()
    .min(0)
    .max(7 * 86_400_000),
  /** Globs (docs/OPTIONS.md, `initiate --include`); no `include` means everything. */
  include: z.array(globSchema).max(MAX_PATTERNS),
  exclude: z.array(globSchema).max(MAX_PATTERNS),
  /** From the beginning of one run to that of the next; absent for an order that runs once. */
  everyMs: z
    .int()
    .min(1_000)
    .max(366 * 86_400_000)
    .optional(),
  /** What each source of the order may send at most; absent for no limit but the mirror's own. */
  bytesPerSecond: bytesPerSecondSchema.optional(),
  /** Compares files that are there with the digests of the source's, not by size and time. */
  checksum: z.literal(true).optional(),
  /** Reads what the mirror has, compares it with what it fetched, and fetches again what is not so any more. */
  verify: z.literal(true).optional(),
  /** Symbolic links: left out, or made here as well where they stay inside; absent means "skip". */
  links: z.enum(["skip", "copy"]).optional(),
  /** Moves into the trash what the source no longer has, unless that is more than this. */
  delete: z
    .strictObject({
      maxFiles: z.int().min(0).max(Number.MAX_SAFE_INTEGER),
      /** Of the files that the mirror had from the source. */
      maxPercent: z.int().min(0).max(100),
    })
    .optional(),
  /** Finds out what would be done, and does nothing of it. */
  dryRun: z.literal(true).optional(),
  /** Keeps what was done to each file, to be asked for with "items". */
  itemize: z.literal(true).optional(),
});
export type OrderRequest = z.infer<typeof orderRequestSchema>;

const orderIdSchema = z.string().min(1).max(64);

/** What an initiator may ask of a mirror. */
export const orderCommandSchema = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("give"), order: orderRequestSchema }),
  /** Answered with an "order" event for each, then "orders". */
  z.strictObject({ do: z.literal("list") }),
  /** Answered like "give", from here on; at once with the last result if the order is not running. */
  z.strictObject({ do: z.literal("follow"), orderId: orderIdSchema }),
  z.strictObject({ do: z.literal("cancel"), orderId: orderIdSchema }),
  /** Tries again what failed for good in the last run; answered like "give". */
  z.strictObject({ do: z.literal("retry"), orderId: orderIdSchema }),
  /**
   * Limits what each source of an order may send, for this run and all later ones; without an order,
   * what all sources together may send, until the mirror ends. null lifts the limit.
   */
  z.strictObject({
    do: z.literal("limit"),
    orderId: orderIdSchema.optional(),
    bytesPerSecond: bytesPerSecondSchema.nullable(),
  }),
  /**
   * Of an order that was itemized or a dry run and has ended: an "item" event for each file that something
   * was done to, then "items". As many as the mirror likes to send at once, behind `after`.
   */
  z.strictObject({
    do: z.literal("items"),
    orderId: orderIdSchema,
    after: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  }),
]);
export type OrderCommand = z.infer<typeof orderCommandSchema>;

const sourceKey = { host: z.string(), port: z.int(), path: z.string() };

export const failureSchema = z.object({ ...sourceKey, code: z.string(), message: z.string() });
export type Failure = z.infer<typeof failureSchema>;

export const sourceStatusSchema = z.enum(["complete", "partial", "not-found", "unreachable", "refused"]);
export type SourceStatus = z.infer<typeof sourceStatusSchema>;

const sourceResultSchema = z.object({
  ...sourceKey,
  status: sourceStatusSchema,
  files: z.int(),
  bytes: z.int(),
  /** Files and links that were moved into the trash. */
  deleted: z.int(),
  error: z.string().optional(),
  /** Why nothing was deleted though something would have been. */
  guard: z.string().optional(),
});
export type SourceResult = z.infer<typeof sourceResultSchema>;

/** Where one source stands while the order runs. `listed*` grow until `listComplete`. */
const sourceProgressSchema = z.object({
  ...sourceKey,
  state: z.enum(["connecting", "listing", "transferring", "done"]),
  listComplete: z.boolean(),
  filesListed: z.int(),
  bytesListed: z.int(),
  filesDone: z.int(),
  bytesDone: z.int(),
  failed: z.int(),
});
export type SourceProgress = z.infer<typeof sourceProgressSchema>;

export const orderResultSchema = z.object({
  type: z.literal("result"),
  orderId: z.string(),
  /** Files that are now on the mirror, whole and verified (fetched or unchanged). */
  files: z.int(),
  directories: z.int(),
  /** Sum of the sizes of those files. */
  bytes: z.int(),
  /** File bytes that crossed the network. */
  bytesTransferred: z.int(),
  unchanged: z.int(),
  /** Symbolic links that are now on the mirror. */
  links: z.int(),
  /** Symbolic links and special files that were left out, as configured. */
  skipped: z.int(),
  deleted: z.int(),
  /** Files that were not as they had been fetched, and are again. */
  rotten: z.int(),
  failed: z.int(),
  sizeMean: z.number(),
  sizeVariance: z.number(),
  sizeStddev: z.number(),
  durationMs: z.number(),
  sources: z.array(sourceResultSchema),
  failures: z.array(failureSchema),
  /** Of a dry run: what would be fetched and deleted. */
  plan: z.object({ files: z.int(), bytes: z.int(), deletions: z.int() }).optional(),
});
export type OrderResult = z.infer<typeof orderResultSchema>;

const orderSummarySchema = z.object({
  type: z.literal("order"),
  orderId: z.string(),
  state: z.enum(["running", "waiting", "done", "cancelled"]),
  /** Milliseconds since 1970. */
  createdMs: z.int(),
  startedMs: z.int(),
  /** When it runs next, if it is repeated. */
  dueMs: z.int().optional(),
  everyMs: z.int().optional(),
  bytesPerSecond: z.int().optional(),
  sources: z.array(z.object(sourceKey)),
  /** Of the last run that ended. */
  last: z.object({ files: z.int(), bytes: z.int(), failed: z.int() }).optional(),
});
export type OrderSummary = z.infer<typeof orderSummarySchema>;

export const orderItemSchema = z.object({
  type: z.literal("item"),
  orderId: z.string(),
  ...sourceKey,
  action: z.enum(["fetch", "link", "delete"]),
  kind: z.enum(["file", "symlink"]),
  sizeBytes: z.int(),
  reason: z.string(),
});
export type OrderItem = z.infer<typeof orderItemSchema>;

export const orderEventSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("accepted"), orderId: z.string() }),
  z.object({
    type: z.literal("progress"),
    orderId: z.string(),
    durationMs: z.number(),
    bytesTransferred: z.int(),
    sources: z.array(sourceProgressSchema),
  }),
  failureSchema.extend({ type: z.literal("failure"), orderId: z.string() }),
  z.object({ type: z.literal("skipped"), orderId: z.string(), ...sourceKey, reason: z.string() }),
  /** It is in the trash now. */
  z.object({ type: z.literal("deleted"), orderId: z.string(), ...sourceKey }),
  /** A file was not as it had been fetched, and is now, or would be. */
  z.object({ type: z.literal("rot"), orderId: z.string(), ...sourceKey, message: z.string() }),
  z.object({ type: z.literal("source"), orderId: z.string(), ...sourceResultSchema.shape }),
  /** The mirror's disk is full: the order goes on by itself when there is room. */
  z.object({ type: z.literal("parked"), orderId: z.string(), code: z.string(), message: z.string() }),
  z.object({ type: z.literal("resumed"), orderId: z.string() }),
  orderResultSchema,
  orderSummarySchema,
  z.object({ type: z.literal("orders"), count: z.int() }),
  z.object({ type: z.literal("cancelled"), orderId: z.string() }),
  /** The limit that holds from now on, if any, of each of an order's sources or of all together. */
  z.object({
    type: z.literal("limited"),
    orderId: z.string().optional(),
    bytesPerSecond: z.int().optional(),
  }),
  orderItemSchema,
  /** `next` is the `after` of what is left. */
  z.object({ type: z.literal("items"), count: z.int(), next: z.int().optional() }),
]);
export type OrderEvent = z.infer<typeof orderEventSchema>;

/** Events that end an answer. */
export const LAST_EVENTS: readonly OrderEvent["type"][] = [
  "result",
  "orders",
  "cancelled",
  "limited",
  "items",
];
