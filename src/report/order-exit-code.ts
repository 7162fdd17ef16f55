import { EXIT } from "../errors/codes.ts";
import type { OrderResult, SourceStatus } from "../wire/order.ts";

const EXIT_OF_STATUS: Partial<Record<SourceStatus, number>> = {
  "not-found": EXIT.notFound,
  unreachable: EXIT.unreachable,
  refused: EXIT.refused,
};

/**
 * The exit code of a finished order. 0: everything that was asked for is there and verified. When
 * When a guard kept something from being deleted: 8, whatever else there is, because somebody has to look. When
 * nothing at all was obtained and every source has the same trouble, that trouble's code (4, 6, 7);
 * otherwise 3, partial.
 */
export function exitCodeOfOrder(result: OrderResult): number {
  if (result.sources.some((source) => source.guard !== undefined)) return EXIT.guard;
  if (result.failed === 0 && result.sources.every((source) => source.status === "complete")) return EXIT.ok;
  const [status, ...others] = new Set(result.sources.map((source) => source.status));
  const nothingObtained = result.files === 0 && result.links === 0 && result.directories === 0;
  if (status === undefined || others.length > 0 || !nothingObtained) return EXIT.partial;
  return EXIT_OF_STATUS[status] ?? EXIT.partial;
}
