/**
 * Where the entry of a pool thread is. In a file beside it, because a compiled binary flattens the
 * folders: from anywhere else the relative path would differ between source and binary.
 */
export const THREAD_URL = new URL("./thread.ts", import.meta.url).href;
