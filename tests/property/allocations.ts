/** The sizes of all byte arrays that `action` makes by number. */
export function allocationsOf(action: () => void): number[] {
  const sizes: number[] = [];
  const original = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(original, {
    construct(target, args: unknown[], newTarget) {
      if (typeof args[0] === "number") sizes.push(args[0]);
      return Reflect.construct(target, args, newTarget) as object;
    },
  });
  try {
    action();
  } finally {
    globalThis.Uint8Array = original;
  }
  return sizes;
}
