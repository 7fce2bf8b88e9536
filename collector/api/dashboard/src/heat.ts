// A heat map of latencies: for each step, how many requests took how long. The cells are the bins of the statistics, so they are exact.

import type uPlot from "uplot";
import type { LatencyBins } from "./api";
import type { Chart } from "./chart";
import * as f from "./format";

export interface Heat {
  perDoubling: number; // bins from a latency to twice that latency
  columns: (LatencyBins | undefined)[]; // one for each step
}

/** The part of a heat map under the pointer: a step, and a bin by its limits in microseconds. */
export interface Cell { index: number; from: number; to: number; count: number }

const doublingsMin = 3; // height of the scale

/** The latency at which a bin begins, in microseconds. */
const beginOf = (heat: Heat, bin: number): number => 2 ** (bin / heat.perDoubling);

/** The limits of the scale in microseconds: those of the bins that are not empty, but at least a few doublings. */
export function heatRange(heat: Heat): [number, number] {
  let low = Infinity, high = -Infinity;
  for (const column of heat.columns) {
    if (!column || column.counts.length === 0) continue;
    low = Math.min(low, column.start);
    high = Math.max(high, column.start + column.counts.length);
  }
  if (low > high) [low, high] = [10 * heat.perDoubling, 10 * heat.perDoubling]; // nothing: about a millisecond
  const missing = doublingsMin * heat.perDoubling - (high - low);
  if (missing > 0) {
    low = Math.max(0, low - Math.ceil(missing / 2));
    high = low + doublingsMin * heat.perDoubling;
  }
  return [beginOf(heat, low), beginOf(heat, high)];
}

/** Round latencies within the scale, at most about five of them. */
export function heatSplits(low: number, high: number): number[] {
  const within = (factors: number[]): number[] => {
    const out: number[] = [];
    for (let power = 1; power <= high; power *= 10) out.push(...factors.map((x) => x * power).filter((v) => v >= low && v <= high));
    return out;
  };
  const tens = within([1]);
  return tens.length > 2 ? tens : within(tens.length === 2 ? [1, 3] : [1, 2, 5]);
}

/** Where a step ends, in seconds. */
export const stepEnd = (chart: Chart, i: number): number => chart.times[i + 1] ?? chart.times[i]! + chart.step;

/** Draws the cells, the more opaque the more requests. */
export function paintHeat(u: uPlot, chart: Chart, color: string): void {
  const heat = chart.heat!, ctx = u.ctx;
  const most = Math.log1p(Math.max(1, ...heat.columns.flatMap((c) => c?.counts ?? [])));
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.fillStyle = color;
  heat.columns.forEach((column, i) => {
    if (!column) return;
    const left = Math.round(u.valToPos(chart.times[i]!, "x", true)), right = Math.round(u.valToPos(stepEnd(chart, i), "x", true));
    column.counts.forEach((n, at) => {
      if (n === 0) return;
      const top = Math.round(u.valToPos(beginOf(heat, column.start + at + 1), "y", true));
      const bottom = Math.round(u.valToPos(beginOf(heat, column.start + at), "y", true));
      ctx.globalAlpha = 0.12 + (0.88 * Math.log1p(n)) / most;
      ctx.fillRect(left, top, Math.max(right - left, 1), Math.max(bottom - top, 1));
    });
  });
  ctx.restore();
}

/** The cell under the pointer. */
export function cellAt(u: uPlot, chart: Chart): Cell | null {
  const { left, top } = u.cursor, heat = chart.heat;
  if (!heat || left === undefined || top === undefined || left < 0) return null;
  const time = u.posToVal(left, "x");
  const after = chart.times.findIndex((t) => t > time), index = (after < 0 ? chart.times.length : after) - 1;
  if (index < 0) return null;
  const bin = Math.floor(Math.log2(u.posToVal(top, "y")) * heat.perDoubling), column = heat.columns[index];
  return { index, from: beginOf(heat, bin), to: beginOf(heat, bin + 1), count: column?.counts[bin - column.start] ?? 0 };
}

export const inWords = (cell: Cell): string => `${f.count(cell.count)} took ${f.micros(cell.from)} to ${f.micros(cell.to)}`;

/** Adds up the bins of all steps in doublings: from, to (in microseconds) and count, the shortest latency first. */
export function distribution(heat: Heat): { from: number; to: number; count: number }[] {
  const counts = new Map<number, number>();
  let zeros = 0;
  for (const column of heat.columns) {
    zeros += column?.zeros ?? 0;
    column?.counts.forEach((n, i) => {
      const doubling = Math.floor((column.start + i) / heat.perDoubling);
      if (n > 0) counts.set(doubling, (counts.get(doubling) ?? 0) + n);
    });
  }
  const rows = [...counts].sort(([a], [b]) => a - b).map(([doubling, count]) => ({ from: 2 ** doubling, to: 2 ** (doubling + 1), count }));
  return zeros > 0 ? [{ from: 0, to: 0, count: zeros }, ...rows] : rows;
}
