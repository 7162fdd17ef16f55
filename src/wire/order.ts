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

export const orderRequestSchema = z.strictObject({
  sources: z.array(orderSourceSchema).min(1).max(MAX_SOURCES_PER_ORDER),
});
export type OrderRequest = z.infer<typeof orderRequestSchema>;

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
  orderResultSchema,
]);
export type OrderEvent = z.infer<typeof orderEventSchema>;
