// The content of the charts, made from answers of the API.

import type { Activity, Mark, Point, Recent, Series } from "./api";
import type { Chart, Line } from "./chart";
import * as f from "./format";
import { distribution, type Heat } from "./heat";

/** The bins that the dashboard requests for heat maps, from a latency to twice that latency. */
export const binsPerDoubling = 4;

/** The index of the first response in the recent activity, so that a young process shows less than half an hour, but at least five minutes. */
export function sinceFirst(recent: Recent): number {
  const first = recent.totals.count.findIndex((n) => n > 0);
  return Math.max(0, Math.min(first < 0 ? 0 : first - 1, recent.totals.count.length - 30));
}

/** The time that the recent activity covers from its first shown step; short after a start of the books process, which counts from then on. */
function recentTime(recent: Recent, skip: number): string {
  const seconds = Math.max(recent.totals.count.length - skip, 1) * recent.step_seconds;
  return seconds < 60 ? f.plural(seconds, "second", "seconds") : f.plural(Math.round(seconds / 60), "minute", "minutes");
}

export const recentShown = (recent: Recent): string => recentTime(recent, sinceFirst(recent));

/** The rate of the last half hour, which is always shown, whatever the range. */
export function recentChart(recent: Recent, marks: Mark[], activity: Activity = recent.totals): Chart {
  const skip = sinceFirst(recent), step = recent.step_seconds, from = Date.parse(recent.from) / 1000;
  const first = Math.floor(from / step) * step, start = first + skip * step;
  const length = (i: number): number => (i === 0 ? first + step - from : step); // counting may have begun inside the first step
  const rates = (v: number[]): number[] => v.map((n, i) => n / length(i));
  const perSecond = (v: number[]): number[] => rates(v).slice(skip);
  const total = activity.count.reduce((a, b) => a + b, 0), errors = activity.errors.reduce((a, b) => a + b, 0);
  return {
    title: `Requests per second, last ${recentShown(recent)}`, fine: true, step, marks,
    summary: `${f.plural(total, "request", "requests")} in the last ${recentTime(recent, 0)}, at most ${f.rate(Math.max(...rates(activity.count), 0))}, ${f.plural(errors, "error", "errors")}.`,
    times: activity.count.slice(skip).map((_, i) => start + i * step), axis: f.rateAxis,
    lines: [
      { label: "Requests", values: perSecond(activity.count), color: "--accent", fill: true },
      { label: "Errors", values: perSecond(activity.errors), color: "--bad" },
    ],
  };
}

const seconds = (points: Point[]): number[] => points.map((p) => Date.parse(p.time) / 1000);
const busiest = (points: Point[]): Point | undefined => points.reduce<Point | undefined>((a, b) => (a && a.count >= b.count ? a : b), undefined);

/** Values of the previous period, aligned to the current one. */
function earlier(series: Series, value: (p: Point) => number | null): (number | null)[] | null {
  const points = series.before?.points;
  return points ? series.points.map((_, i) => (points[i] ? value(points[i]) : null)) : null;
}

/** The length of a step in seconds. */
export const stepSeconds = (step: string): number => parseInt(step, 10) * (step.endsWith("m") ? 60 : 3600);

/** Draws the last segment of a line dashed, as "so far", if the last step is not over. */
function soFar(series: Series, lines: Line[]): Line[] {
  const last = series.points.length - 1, end = series.points[last];
  if (last < 1 || !end || Date.parse(end.time) + stepSeconds(series.step) * 1000 <= Date.now()) return lines;
  return lines.flatMap((l) => [
    { ...l, values: l.values.map((v, i) => (i === last ? null : v)) },
    { label: `${l.label} so far`, color: l.color, dashed: true, dots: l.values[last - 1] === null, values: l.values.map((v, i) => (i >= last - 1 ? v : null)) },
  ]);
}

export function requestsChart(series: Series, marks: Mark[]): Chart {
  const was = earlier(series, (p) => p.rate), top = busiest(series.points);
  return {
    title: `Requests per second, by ${stepName(series.step)}`, step: stepSeconds(series.step), marks,
    summary: `${f.plural(series.totals.count, "request", "requests")}, ${f.plural(series.totals.errors, "error", "errors")}` +
      (top && top.count > 0 ? `; the busiest time began ${f.moment(new Date(top.time))} with ${f.rate(top.rate)}.` : "."),
    times: seconds(series.points), axis: f.rateAxis,
    lines: [
      ...soFar(series, [
        { label: "Requests", values: series.points.map((p) => (p.seconds > 0 ? p.rate : null)), color: "--accent", fill: true },
        { label: "Errors", values: series.points.map((p) => (p.count > 0 ? (p.rate * p.errors) / p.count : p.seconds > 0 ? 0 : null)), color: "--bad" },
      ]),
      ...(was ? [{ label: "Period before", values: was, color: "--muted", dashed: true }] : []),
    ],
  };
}

const classes = [
  { label: "5xx", digit: "5", color: "--band-5" }, { label: "4xx", digit: "4", color: "--band-4" },
  { label: "3xx", digit: "3", color: "--band-3" }, { label: "2xx", digit: "2", color: "--band-2" },
];

/** Responses per second by class of status, one band above the other, errors at the bottom. */
export function bandsChart(series: Series, marks: Mark[]): Chart {
  const of = (p: Point, digit: string): number => Object.entries(p.status).reduce((sum, [code, n]) =>
    sum + (code[0] === digit || (digit === "5" && code === "0") || (digit === "2" && code[0] === "1") ? n : 0), 0);
  const rates = classes.map((c) => series.points.map((p) => (p.seconds > 0 ? of(p, c.digit) / p.seconds : null)));
  const used = classes.map((_, i) => rates[i]!.some((v) => v !== null && v > 0));
  const sums: (number | null)[][] = [];
  rates.forEach((values, i) => { sums.push(values.map((v, at) => (v === null ? null : v + (i > 0 ? sums[i - 1]![at] ?? 0 : 0)))); });
  const last = [...classes.keys()].filter((i) => used[i]).reverse(); // the highest first: each covers the ones before
  const top = busiest(series.points);
  return {
    title: `Responses per second by status, by ${stepName(series.step)}`, step: stepSeconds(series.step), marks,
    summary: `${f.plural(series.totals.count, "request", "requests")}, ${f.plural(series.totals.errors, "error", "errors")}` +
      (top && top.count > 0 ? `; the busiest time began ${f.moment(new Date(top.time))} with ${f.rate(top.rate)}.` : "."),
    times: seconds(series.points), axis: f.rateAxis,
    lines: last.length > 0
      ? last.map((i) => ({ label: classes[i]!.label, values: sums[i]!, shown: rates[i]!, color: classes[i]!.color, solid: true }))
      : [{ label: "Requests", values: series.points.map((p) => (p.seconds > 0 ? 0 : null)), color: "--accent" }],
  };
}

export function latencyChart(series: Series, marks: Mark[]): Chart {
  const known = (pick: (p: Point) => number) => (p: Point): number | null => (p.count > 0 ? pick(p) : null);
  const line = (pick: (p: Point) => number): (number | null)[] => series.points.map(known(pick));
  const was = earlier(series, known((p) => p.latency_us.p95)), l = series.totals.latency_us;
  return {
    title: `Latency, by ${stepName(series.step)}`, step: stepSeconds(series.step), marks,
    summary: `Over the whole range, half of the requests took at most ${f.micros(l.p50)}, 95 % at most ${f.micros(l.p95)}, 99 % at most ${f.micros(l.p99)}.`,
    times: seconds(series.points), axis: f.microsAxis,
    lines: [
      { label: "p50", values: line((p) => p.latency_us.p50), color: "--line-1" },
      { label: "p95", values: line((p) => p.latency_us.p95), color: "--line-2" },
      { label: "p99", values: line((p) => p.latency_us.p99), color: "--line-3" },
      ...(was ? [{ label: "p95 before", values: was, color: "--muted", dashed: true }] : []),
    ],
  };
}

/** How many requests took how long, in each step. */
export function heatChart(series: Series, marks: Mark[]): Chart {
  const heat: Heat = { perDoubling: binsPerDoubling, columns: series.points.map((p) => p.latency_bins) };
  const all = distribution(heat), most = all.reduce((a, b) => (b.count > a.count ? b : a), { from: 0, to: 0, count: 0 });
  return {
    title: `Requests by latency, by ${stepName(series.step)}`, step: stepSeconds(series.step), marks, heat,
    summary: most.count === 0 ? "There are no latencies in this time range."
      : `Most requests took ${f.micros(most.from)} to ${f.micros(most.to)}: ${f.share(most.count, all.reduce((sum, b) => sum + b.count, 0))} of them.`,
    times: seconds(series.points), axis: f.millisAxis,
    lines: [{ label: "Requests", color: "--accent", values: series.points.map((p) => p.count) }],
  };
}

export function errorsChart(series: Series, marks: Mark[]): Chart {
  const share = (p: Point): number | null => (p.count > 0 ? (100 * p.errors) / p.count : p.seconds > 0 ? 0 : null);
  const was = earlier(series, share);
  return {
    title: `Errors, share of requests by ${stepName(series.step)}`, step: stepSeconds(series.step), marks,
    summary: `${f.share(series.totals.errors, series.totals.count)} of all requests failed.`,
    times: seconds(series.points), axis: f.percentAxis,
    lines: [
      { label: "Errors", values: series.points.map(share), color: "--bad", fill: true },
      ...(was ? [{ label: "Period before", values: was, color: "--muted", dashed: true }] : []),
    ],
  };
}

function stepName(step: string): string {
  if (step.endsWith("m")) return parseInt(step, 10) === 1 ? "minute" : `${parseInt(step, 10)} minutes`;
  const hours = parseInt(step, 10);
  if (hours === 1) return "hour";
  return hours % 24 === 0 ? (hours === 24 ? "day" : `${hours / 24} days`) : `${hours} hours`;
}
