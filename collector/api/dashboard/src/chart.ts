// Charts over time with uPlot, heat maps among them, and sparklines as SVG. Colors come from the style sheet, so both follow the theme.

import uPlot from "uplot";
import { h, svg } from "./dom";
import type { Mark } from "./api";
import * as f from "./format";
import { cellAt, heatRange, heatSplits, inWords, paintHeat, stepEnd, type Heat } from "./heat";

export interface Line {
  label: string;
  values: (number | null)[];
  color: string; // name of a custom property: "--accent"
  fill?: boolean;
  dashed?: boolean;
  dots?: boolean; // each value as a dot also on a dashed line, which is invisible if it has only one value
  solid?: boolean; // filled down to the axis, over the lines before it
  shown?: (number | null)[]; // for the legend, if it is not what is drawn
}

export interface Chart {
  title: string;
  summary: string; // the content of the chart in words
  times: number[]; // seconds
  lines: Line[];
  axis: (most: number) => (value: number) => string; // all values of the axis in one unit
  fine?: boolean; // steps of seconds, not of hours
  step: number; // seconds
  marks: Mark[];
  heat?: Heat; // drawn instead of lines
}

/** What the pointer does on a chart; times in seconds. */
export interface Pointing {
  zoom(from: number, to: number): void; // a range was selected
  open(from: number, to: number, atLeast?: number): void; // a step was pressed, or a cell of a heat map with its latency in microseconds
}

const height = 180;

const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A chart that show draws again. Its size follows its container. */
export class Figure {
  readonly element: HTMLElement;
  private readonly place = h("div", { class: "plot", "aria-hidden": "true" });
  private readonly caption = h("figcaption");
  private readonly words = h("p", { class: "unseen" });
  private plot: uPlot | null = null;
  private shape = "";
  private unit: (value: number) => string = String;
  private last: Chart | null = null;

  constructor(private readonly pointing: Pointing | null = null) {
    this.place.addEventListener("mouseleave", () => this.latest());
    this.element = h("figure", { class: "panel chart" + (pointing ? " points" : "") }, this.caption, this.words, this.place);
    new ResizeObserver(() => this.plot?.setSize({ width: this.width(), height })).observe(this.place);
  }

  private width(): number { return Math.max(this.place.clientWidth, 200); }

  show(chart: Chart): void {
    this.last = chart;
    this.caption.textContent = chart.title;
    this.words.textContent = chart.summary + (chart.marks.length > 0 ? " Marks: " + chart.marks.map((m) => `${m.text}, ${f.moment(new Date(m.time))}`).join("; ") + "." : "");
    const data = [chart.times, ...chart.lines.map((l) => l.values), ...(chart.heat ? [chart.times.map(() => null)] : [])] as uPlot.AlignedData;
    this.unit = chart.axis(chart.heat ? heatRange(chart.heat)[1] : Math.max(0, ...chart.lines.flatMap((l) => l.values.map((v) => v ?? 0))));
    const shape = chart.lines.map((l) => l.label + (l.dots ? "." : "")).join() + String(chart.fine);
    if (this.plot && shape === this.shape) {
      this.plot.setData(data);
      this.latest();
      return;
    }
    this.plot?.destroy();
    this.shape = shape;
    this.plot = new uPlot(this.options(chart), data, this.place);
    this.latest();
  }

  /** Shows the latest values in the legend while no pointer is over the chart. uPlot empties the legend when it draws, later. */
  private latest(): void {
    requestAnimationFrame(() => {
      if (this.plot && !this.place.matches(":hover")) this.plot.setLegend({ idx: this.plot.data[0].length - 1 });
    });
  }

  /** Draws with the colors of the current theme. */
  recolor(): void {
    this.shape = "";
    if (this.last) this.show(this.last);
  }

  /** A selection becomes a range. */
  private selected(u: uPlot): void {
    if (!this.pointing || u.select.width < 6) return;
    const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.pointing.zoom(from, to);
  }

  /** A press without a movement opens the step under the pointer. */
  private listen(u: uPlot): void {
    let downAt = -1;
    u.over.addEventListener("mousedown", (e) => { downAt = e.clientX; });
    u.over.addEventListener("click", (e) => {
      const i = u.cursor.idx, chart = this.last;
      if (!this.pointing || !chart || i === null || i === undefined || Math.abs(e.clientX - downAt) >= 6) return;
      const cell = cellAt(u, chart);
      if (cell) return this.pointing.open(chart.times[cell.index]!, stepEnd(chart, cell.index), Math.ceil(cell.from));
      const from = chart.times[i];
      if (from !== undefined) this.pointing.open(from, stepEnd(chart, i));
    });
  }

  /** Draws a line for each mark, and its text where there is room. */
  private drawMarks(u: uPlot): void {
    const chart = this.last, ratio = devicePixelRatio;
    if (!chart || chart.marks.length === 0) return;
    const { left, top, width, height: tall } = u.bbox, ctx = u.ctx;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.lineWidth = ratio;
    let free = Infinity; // from the right: of marks that are close, the latest has its text
    for (const mark of [...chart.marks].reverse()) {
      const x = u.valToPos(Date.parse(mark.time) / 1000, "x", true);
      if (x < left || x > left + width) continue;
      const made = mark.kind === "mark";
      ctx.strokeStyle = ctx.fillStyle = color(made ? "--text" : "--muted");
      ctx.setLineDash(made ? [] : [3 * ratio, 3 * ratio]);
      ctx.globalAlpha = made ? 0.75 : 0.45;
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + tall);
      ctx.stroke();
      const text = mark.text.length > 22 ? mark.text.slice(0, 21) + "…" : mark.text, room = labelWidth * ratio;
      const toLeft = x + room > left + width;
      if ((toLeft ? x : x + room) > free) continue;
      ctx.globalAlpha = 1;
      ctx.textAlign = toLeft ? "right" : "left";
      const at = x + (toLeft ? -4 : 4) * ratio;
      ctx.setLineDash([]);
      ctx.lineWidth = 3 * ratio; // an edge in the color of the ground, so that the text can be read on lines and bands
      ctx.strokeStyle = color("--panel");
      ctx.strokeText(text, at, top + 10 * ratio, room);
      ctx.lineWidth = ratio;
      ctx.fillText(text, at, top + 10 * ratio, room);
      free = toLeft ? x - room : x;
    }
    ctx.restore();
  }

  /** What a heat map needs instead of lines. Its only line is invisible; it puts the count of a step into the legend. */
  private heatOptions(lines: Line[]): Partial<uPlot.Options> & { series: uPlot.Series[]; hooks: uPlot.Hooks.Arrays } {
    const drawn = (): Chart => this.last!;
    return {
      hooks: {
        drawClear: [(u) => paintHeat(u, drawn(), color("--accent"))],
        setCursor: [(u) => {
          const cell = cellAt(u, drawn());
          if (cell) u.setLegend({ idx: cell.index });
        }],
      },
      scales: {
        x: { time: true, range: () => [drawn().times[0] ?? 0, drawn().times.length > 0 ? stepEnd(drawn(), drawn().times.length - 1) : 1] },
        y: { distr: 3, log: 2, range: () => heatRange(drawn().heat!) }, n: { auto: true },
      },
      series: [
        ...lines.map((l): uPlot.Series => ({ label: l.label, scale: "n", width: 0, points: { show: false }, value: (_, v) => (v === null ? "–" : f.count(v)) })),
        {
          label: "Under the pointer", scale: "n", width: 0, points: { show: false },
          value: (u) => {
            const cell = this.place.matches(":hover") ? cellAt(u, drawn()) : null;
            return cell ? inWords(cell) : "–";
          },
        },
      ],
    };
  }

  private options(chart: Chart): uPlot.Options {
    const heat = chart.heat ? this.heatOptions(chart.lines) : null;
    const axis: uPlot.Axis = {
      stroke: color("--muted"), font: "12px system-ui, sans-serif",
      grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1, size: 4 },
    };
    return {
      width: this.width(), height, cursor: { points: { size: 7 }, drag: { x: this.pointing !== null, y: false, setScale: false, dist: 6 } },
      hooks: { draw: [(u) => this.drawMarks(u)], setSelect: [(u) => this.selected(u)], ready: [(u) => this.listen(u)], ...heat?.hooks },
      legend: { live: true }, tzDate: (t) => f.calendar(new Date(t * 1000)),
      scales: heat?.scales ?? { x: chart.fine ? { time: true, range: (_, first, last) => recentRange(first, last) } : { time: true }, y: { range: (_, __, max) => [0, max > 0 ? max * (this.last?.marks.length ? 1.2 : 1.08) : 1] } }, // room above the lines for names of marks
      axes: [
        { ...axis, space: 70, values: hours },
        {
          ...axis, size: 64, values: (_, splits) => splits.map((v) => this.unit(v)),
          ...(heat ? { splits: (_: uPlot, __: number, low: number, high: number) => heatSplits(low, high), filter: (_: uPlot, splits: number[]) => splits } : {}),
        },
      ],
      series: [
        { label: `Time (${f.zone()})`, value: (_, t) => (t ? (chart.fine ? f.timeOfDay : f.moment)(new Date(t * 1000)) : "–") },
        ...heat?.series ?? chart.lines.map((l) => ({
          label: l.label, stroke: color(l.color), width: 1.75, spanGaps: false,
          fill: l.solid ? color(l.color) : l.fill ? color(l.color + "-soft") : undefined, dash: l.dashed ? [5, 4] : undefined,
          points: l.dashed && !l.dots ? { show: false } : { size: 5 },
          value: (_: uPlot, drawn: number | null, __: number, i: number | null) => {
            const now = this.last?.lines.find((x) => x.label === l.label)?.shown, v = now && i !== null ? now[i] : drawn;
            return v === null || v === undefined ? "–" : this.unit(v);
          },
        })),
      ],
    };
  }
}

const labelWidth = 110; // of a mark, in pixels
const recentLeast = 300; // seconds

/** The range of a chart of seconds: that of its data, but at least five minutes, also if there are no data yet. */
function recentRange(first: number | null, last: number | null): [number, number] {
  const end = last ?? Math.floor(Date.now() / 1000);
  return [Math.min(first ?? end, end - recentLeast), end];
}

/** Labels of the time axis: hours, and the day if it changes. */
function hours(_: uPlot, splits: number[], __: number, ___: number, step: number): string[] {
  let lastDay = "";
  return splits.map((s) => {
    const t = new Date(s * 1000);
    const day = f.dayOf(t), time = step < 60 ? f.timeOfDay(t) : f.hourMinute(t);
    const text = step >= 86_400 ? day : lastDay !== "" && lastDay !== day ? `${time}\n${day}` : time;
    lastDay = day;
    return text;
  });
}

/** A small line without axes, with errors marked below it. */
export function sparkline(counts: number[], errors: number[]): SVGElement {
  const width = 120, tall = 26;
  const most = Math.max(...counts, 1);
  const x = (i: number): number => (counts.length > 1 ? (i * width) / (counts.length - 1) : width);
  const y = (v: number): number => tall - 3 - (v / most) * (tall - 6);
  const points = counts.map((c, i) => `${x(i).toFixed(1)},${y(c).toFixed(1)}`).join(" ");
  const picture = svg("svg", { viewBox: `0 0 ${width} ${tall}`, width, height: tall, class: "spark", "aria-hidden": "true", preserveAspectRatio: "none" },
    svg("polygon", { points: `0,${tall - 3} ${points} ${width},${tall - 3}`, class: "spark-area" }),
    svg("polyline", { points, class: "spark-line", fill: "none" }));
  errors.forEach((e, i) => {
    if (e > 0) picture.append(svg("rect", { x: (x(i) - 1).toFixed(1), y: tall - 2, width: 2, height: 2, class: "spark-error" }));
  });
  return picture;
}

/** Adds up neighboring values until at most n are left. */
export function shrink(values: number[], n: number): number[] {
  const size = Math.ceil(values.length / n);
  const out: number[] = [];
  for (let i = 0; i < values.length; i += size) out.push(values.slice(i, i + size).reduce((a, b) => a + b, 0));
  return out;
}
