import type { GrowthPoint, GrowthSeries } from "./growth-series.ts";

export interface MeasuredGrowth {
  series: GrowthSeries;
  points: readonly GrowthPoint[];
}

const PANEL = { width: 380, height: 230, left: 52, right: 52, top: 40, bottom: 40 } as const;
const MIB = 1024 ** 2;
/** Values further apart than this need a logarithmic axis. */
const WIDE = 30;

/** Two lines a panel, over a logarithmic axis: what one unit costs (left), and memory (right). Pure. */
export function growthChart(measured: readonly MeasuredGrowth[]): string {
  const rows = Math.ceil(measured.length / 2);
  const [width, height] = [2 * PANEL.width, rows * PANEL.height];
  const panels = measured.map((growth, index) => {
    const [x, y] = [(index % 2) * PANEL.width, Math.floor(index / 2) * PANEL.height];
    return `<g transform="translate(${x} ${y})">${panel(growth)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...panels,
    "</svg>",
    "",
  ].join("\n");
}

/** Microseconds for one unit of the work. */
export function costUs({ per }: GrowthSeries, { amount, seconds }: GrowthPoint): number {
  return (1e6 * seconds) / per.count(amount);
}

/** Of all our processes together. */
export function memoryBytes({ peakBytes }: GrowthPoint): number {
  return Object.values(peakBytes).reduce((sum, bytes) => sum + bytes, 0);
}

function panel({ series, points }: MeasuredGrowth): string {
  const costs = points.map((point) => costUs(series, point) / 1000);
  const memory = points.map((point) => memoryBytes(point) / MIB);
  const amounts = points.map(({ amount }) => Math.log(amount));
  const across = scale([Math.min(...amounts), Math.max(...amounts)], [PANEL.left, PANEL.width - PANEL.right]);
  const vertical = [PANEL.height - PANEL.bottom, PANEL.top] as const;
  const lines = [
    {
      values: costs,
      color: "#1f5fa8",
      label: `ms per ${series.per.name}`,
      at: PANEL.left - 6,
      anchor: "end",
    },
    {
      values: memory,
      color: "#b3541e",
      label: "MiB of memory",
      at: PANEL.width - PANEL.right + 6,
      anchor: "start",
    },
  ].map(({ values, color, label, at, anchor }) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const isWide = most > WIDE * least;
    // From nought, so that what is flat looks flat.
    const linear = scale([0, 1.15 * most], vertical);
    const logarithmic = scale([Math.log(least / 2), Math.log(most * 2)], vertical);
    const up = (value: number): number => (isWide ? logarithmic(Math.log(value)) : linear(value));
    const corners = values.map((value, index) => [across(amounts[index]!), up(value)] as const);
    const path = corners.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    const dots = corners.map(
      ([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="2.5" fill="${color}"/>`,
    );
    const bottom = isWide
      ? text(at, up(least), round(least), { anchor, color })
      : text(at, vertical[0], "0", { anchor, color });
    return [
      `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="1.5"/>`,
      ...dots,
      text(at, up(most), round(most), { anchor, color }),
      bottom,
      text(at, PANEL.top - 8, isWide ? `${label} (logarithmic)` : label, {
        anchor: anchor === "end" ? "start" : "end",
        color,
      }),
    ].join("");
  });
  const ticks = points.map(({ amount }, index) =>
    text(across(amounts[index]!), vertical[0] + 14, shownAmount(amount), { anchor: "middle", color: "#444" }),
  );
  const axis = `<line x1="${PANEL.left}" x2="${PANEL.width - PANEL.right}" y1="${vertical[0]}" y2="${vertical[0]}" stroke="#999"/>`;
  const title = text(PANEL.width / 2, 16, series.title, { anchor: "middle", color: "black" });
  const unit = text(PANEL.width / 2, vertical[0] + 30, series.unit, { anchor: "middle", color: "#444" });
  return [title, axis, ...ticks, unit, ...lines].join("\n");
}

function scale(from: readonly [number, number], to: readonly [number, number]): (value: number) => number {
  const span = from[1] - from[0] || 1;
  return (value) => to[0] + ((value - from[0]) / span) * (to[1] - to[0]);
}

function text(
  x: number,
  y: number,
  content: string,
  { anchor, color }: { anchor: string; color: string },
): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${(y + 4).toFixed(1)}" text-anchor="${anchor}" fill="${color}">${escaped}</text>`;
}

/** "1/16", "1,000". */
export function shownAmount(amount: number): string {
  return amount < 1 ? `1/${Math.round(1 / amount)}` : amount.toLocaleString("en");
}

/** Three digits that say something. */
export function round(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toFixed(digits);
}
