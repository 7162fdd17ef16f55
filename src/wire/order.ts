import { z } from "zod";

/**
 * What an initiator and a mirror say to each other, carried as JSON in ORDER and EVENT frames.
 * The same event objects are what `initiate --json` prints, one a line.
 */

export const MAX_SOURCES_PER_ORDER = 256;
/** Failures that are sent as events and listed in the result, and skipped items that are sent; more are counted. */
export const MAX_LISTED_FAILURES = 1000;

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
  error: z.string().optional(),
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
  /** Symbolic links and special files that were left out, as configured. */
  skipped: z.int(),
  failed: z.int(),
  sizeMean: z.number(),
  sizeVariance: z.number(),
  sizeStddev: z.number(),
  durationMs: z.number(),
  sources: z.array(sourceResultSchema),
  failures: z.array(failureSchema),
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
  sources: z.array(z.object(sourceKey)),
  /** Of the last run that ended. */
  last: z.object({ files: z.int(), bytes: z.int(), failed: z.int() }).optional(),
});
export type OrderSummary = z.infer<typeof orderSummarySchema>;

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
  z.object({ type: z.literal("source"), orderId: z.string(), ...sourceResultSchema.shape }),
  /** The mirror's disk is full: the order goes on by itself when there is room. */
  z.object({ type: z.literal("parked"), orderId: z.string(), code: z.string(), message: z.string() }),
  z.object({ type: z.literal("resumed"), orderId: z.string() }),
  orderResultSchema,
  orderSummarySchema,
  z.object({ type: z.literal("orders"), count: z.int() }),
  z.object({ type: z.literal("cancelled"), orderId: z.string() }),
]);
export type OrderEvent = z.infer<typeof orderEventSchema>;

/** Events that end an answer. */
export const LAST_EVENTS: readonly OrderEvent["type"][] = ["result", "orders", "cancelled"];
