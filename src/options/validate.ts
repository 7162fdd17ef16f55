import type * as z from "zod";
import { shown } from "./shown.ts";
import { didYouMean } from "./suggest.ts";
import type { OptionSpec } from "./table.ts";

/** What is wrong inside one value: `[1].port` and why; the path is empty for the value as a whole. */
export interface ValueIssue {
  readonly path: string;
  readonly why: string;
}

/** The program's value of what a layer holds, or everything that is wrong with it. */
export function validate(
  spec: OptionSpec,
  written: unknown,
): { readonly value: unknown } | { readonly issues: readonly ValueIssue[] } {
  const result = spec.type.schema().safeParse(written);
  if (result.success) return { value: result.data };
  if (spec.secret === true) return { issues: [{ path: "", why: `expected ${spec.type.expects}` }] };
  const issues = new Map<string, ValueIssue>();
  for (const issue of result.error.issues.flatMap(furthest)) {
    const path = issue.path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
    issues.set(`${path}: ${issue.message}`, { path, why: explain(issue, written, spec) });
  }
  return { issues: [...issues.values()] };
}

function explain(issue: z.core.$ZodIssue, written: unknown, spec: OptionSpec): string {
  if (issue.code === "custom" || issue.code === "unrecognized_keys") return issue.message;
  const value = valueAt(written, issue.path);
  const suggestion = typeof value === "string" ? didYouMean(value, spec.type.choices ?? []) : "";
  return `${issue.message}, got ${shown(value)}${suggestion}`;
}

/** A union fails in every branch; what people want to hear comes from the one that got furthest. */
function furthest(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const branch = issue.errors.find((issues) =>
    issues.every((inner) => inner.path.length > 0 || inner.code === "unrecognized_keys"),
  );
  if (branch === undefined || branch.length === 0) return [issue];
  return branch.flatMap((inner) => furthest({ ...inner, path: [...issue.path, ...inner.path] }));
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}
