// build.ts puts these in; running from source there are none.
declare const DRAY_VERSION: string | undefined;
declare const DRAY_COMMIT: string | undefined;

/** `0.1.0`, or `dev` when run from source. */
const VERSION = typeof DRAY_VERSION === "string" ? DRAY_VERSION : "dev";

/** What `dray --version` prints: `dray 0.1.0 (commit 0123456789ab)`. */
export const VERSION_LINE = `dray ${VERSION}${typeof DRAY_COMMIT === "string" ? ` (commit ${DRAY_COMMIT})` : ""}`;

/** How we name ourselves to peers. */
export const AGENT = `dray/${VERSION}`;
