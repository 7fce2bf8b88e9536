// One path: its responses by status, errors and latency over time, its statuses, and its failed, slowest and latest events.

import { failingNow, get, marksOf, type Events, type RawEvent, type Recent, type Series } from "./api";
import { Figure } from "./chart";
import { bandsChart, binsPerDoubling, errorsChart, heatChart, latencyChart, recentChart, stepSeconds } from "./charts";
import { announce, h, swap } from "./dom";
import { eventsTable } from "./events-view";
import { alarmText, incidentsWithin } from "./failing";
import * as f from "./format";
import { distribution, type Heat } from "./heat";
import { emptyTiles, grpcList, methodBadge, Notice, statusList, tiles } from "./parts";
import { eventsOf, link, span, step, zoomed, type State } from "./state";

const eventsShown = 8;
const eventsPause = 10_000; // ms between updates of the events, at least
const slowOf = 100; // the slowest of so many are shown

const loading = (): HTMLElement => h("p", { class: "panel empty" }, "Loading…");

export class PathView {
  readonly element: HTMLElement;
  private readonly notice = new Notice(true);
  private readonly alarm = new Notice();
  private readonly title = h("div", { class: "title" });
  private readonly figures = h("div", {}, emptyTiles());
  private readonly now: Figure;
  private readonly bands: Figure;
  private readonly errors: Figure;
  private readonly latency: Figure;
  private readonly heat: Figure;
  private readonly statuses = h("div", { class: "panel pad" });
  private readonly kinds = h("div");
  private readonly failed = h("div", {}, loading());
  private readonly slowest = h("div", {}, loading());
  private readonly latest = h("div", {}, loading());
  private readonly table = h("div");

  private eventsDue = 0;

  constructor(private readonly go: (change: Partial<State>) => void) {
    const pointing = { zoom: (from: number, to: number) => this.go(zoomed(from, to)), open: (from: number, to: number, atLeast?: number) => this.go({ ...eventsOf(from, to), ...(atLeast ? { first: "", latency: f.durationText(atLeast) } : {}) }) };
    this.bands = new Figure(pointing);
    this.errors = new Figure(pointing);
    this.latency = new Figure(pointing);
    this.heat = new Figure(pointing);
    this.now = new Figure(pointing);
    this.alarm.show("", "Loading…"); // it has a place from the beginning, so that nothing moves when an incident begins
    this.element = h("div", {}, h("div", { class: "titled" }, this.title, this.alarm.element), this.notice.element, this.figures,
      h("div", { class: "charts" }, this.bands.element, this.errors.element, this.latency.element, this.heat.element, this.now.element),
      h("p", { class: "muted hint" }, "Drag over a chart to zoom in; press a point to see its requests, the failed ones first. In the chart by latency, a stronger color means more requests; press it to see those that took at least as long."),
      h("details", { class: "as-table" }, h("summary", {}, "The same figures as a table, with links to the requests of each step"), this.table),
      h("section", {}, h("h2", {}, "Statuses"), this.statuses, this.kinds),
      h("section", {}, h("h2", {}, "Latest failed requests"), this.failed),
      h("section", {}, h("h2", {}, "Slow requests"), this.slowest),
      h("section", {}, h("h2", {}, "Latest requests"), this.latest));
  }

  apply(s: State): void {
    swap(this.title,
      h("a", { href: link({ ...s, view: "paths", path: "", method: "", host: "", route: "" }), class: "back" }, "← All paths"),
      h("h1", {}, methodBadge(s.method || "any method"), h("span", { class: "path", title: s.path }, f.path(s.path))),
      h("p", { class: "muted" }, (s.host ? `on ${s.host}` : "on any host") + (s.route ? `, route ${s.route}` : "")));
  }

  async reload(s: State, signal: AbortSignal, byItself = false): Promise<void> {
    const range = span(s);
    const row = { path: s.path, method: s.method, host: s.host, route: s.route };
    const period = { from: range.from.toISOString(), to: range.to.toISOString() };
    const events = (more: Record<string, string | number>): Promise<RawEvent[] | null> =>
      get<Events>("/api/v1/events", { ...row, ...period, limit: eventsShown, ...more }, signal).then((e) => e.events, (err: unknown) => {
        if (signal.aborted) throw err;
        return null;
      });
    const [failing, marks, series, recent] = await Promise.all([
      failingNow(signal), marksOf(range.from, range.to, signal),
      get<Series>("/api/v1/series", { ...row, ...range.period, step: step(range.hours), bins: binsPerDoubling, compare: s.compare ? "previous" : undefined }, signal),
      get<Recent>("/api/v1/recent", {}, signal),
    ]);
    this.apply(s);
    const alarms = incidentsWithin(failing, s);
    this.alarm.show(alarms.some((i) => i.kind === "errors") ? "bad" : alarms.length > 0 ? "wait" : "",
      alarmText(alarms, s) || (failing ? "Neither failing nor slower than usual." : "Not known whether this path is failing; trying again."));
    swap(this.figures, tiles(series.totals, series.before?.totals, alarms.some((i) => i.kind === "errors")));
    const mine = recent.paths.find((r) => r.path === s.path && r.method === s.method && r.host === s.host && (r.route ?? "") === s.route);
    const none = recent.totals.count.map(() => 0);
    this.bands.show(bandsChart(series, marks));
    this.errors.show(errorsChart(series, marks));
    this.latency.show(latencyChart(series, marks));
    const heat = heatChart(series, marks);
    this.heat.show(heat);
    this.now.show(recentChart(recent, marks, mine ?? { count: none, errors: none }));
    swap(this.table, pointsTable(s, series), heat.heat && latencyTable(heat.heat));
    swap(this.statuses, series.totals.count > 0 ? statusList(series.totals.status) : h("p", { class: "empty" }, "No responses in this time range."));
    const grpc = series.totals.grpc;
    swap(this.kinds, ...(grpc ? [h("h3", {}, "gRPC status"), grpcList(grpc)] : []), ...errorKinds(series.totals.error_types));
    if (!byItself) announce(`${f.plural(series.totals.count, "request", "requests")} to ${s.path}`);
    if (byItself && Date.now() < this.eventsDue) return;
    const began = Date.now();
    await this.showEvents(s, series, events);
    this.eventsDue = Date.now() + Math.max(eventsPause, 20 * (Date.now() - began)); // a search through many events takes long
  }

  private async showEvents(s: State, series: Series, events: (more: Record<string, string | number>) => Promise<RawEvent[] | null>): Promise<void> {
    const l = series.totals.latency_us, slow = series.totals.count > 20_000 ? l.p999 : l.p99;
    const [failed, slowest, latest] = await Promise.all([
      series.totals.errors > 0 ? events({ status: "5xx" }) : [], series.totals.count > 0 ? events({ min_duration: slow, limit: slowOf }) : [], events({}),
    ]);
    slowest?.sort((a, b) => (b.duration_us ?? 0) - (a.duration_us ?? 0));
    const show = (place: HTMLElement, label: string, list: RawEvent[] | null, empty: string, change: Partial<State>, all: string): void => {
      if (list === null) return swap(place, h("p", { class: "panel empty" }, "The events cannot be read at the moment."));
      swap(place, list.length > 0 ? eventsTable(s, list.slice(0, eventsShown), label) : h("p", { class: "panel empty" }, empty),
        list.length > 0 ? h("p", {}, h("a", { href: link({ ...s, view: "events", ...change }) }, all)) : null);
    };
    show(this.failed, "Latest failed requests", failed, "No request failed in this time range.", { status: "5xx" }, "All failed requests of this path");
    show(this.slowest, "Slow requests", slowest, "No requests in this time range.", { latency: f.durationText(slow) }, `All requests that took at least ${f.micros(slow)}; above are the slowest of the latest ${slowOf}`);
    show(this.latest, "Latest requests", latest, "No requests in this time range that are still in the store.", {}, "Search the requests of this path");
  }

  recolor(): void { for (const chart of [this.now, this.bands, this.errors, this.latency, this.heat]) chart.recolor(); }
  fail(text: string): void { this.notice.show("bad", text); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }
}

function errorKinds(kinds: Record<string, number> | undefined): Node[] {
  const known = Object.entries(kinds ?? {}).sort((a, b) => b[1] - a[1]);
  if (known.length === 0) return [];
  return [h("h3", {}, "Errors by kind"), h("ul", { class: "kinds panel pad" }, ...known.map(([kind, n]) => h("li", {}, h("code", {}, kind), " ", f.count(n))))];
}

/** The figures of the charts as a table, for screen readers and for keyboards. */
function pointsTable(s: State, series: Series): HTMLElement {
  const cell = (text: string): HTMLElement => h("td", {}, text);
  const begins = series.points.map((p) => Date.parse(p.time) / 1000), begin = (i: number): number => begins[i] ?? begins[i - 1]! + stepSeconds(series.step); // the first step can be shorter than the others
  const rows = [...series.points.entries()].filter(([, p]) => p.count > 0).reverse().map(([i, p]) => {
    return h("tr", {}, h("th", { scope: "row" }, h("a", { href: link({ ...s, ...eventsOf(begin(i), begin(i + 1)) }) }, f.moment(new Date(p.time)))),
      cell(f.count(p.count)), cell(f.count(p.errors)), cell(f.micros(p.latency_us.p50)), cell(f.micros(p.latency_us.p95)), cell(f.micros(p.latency_us.p99)));
  });
  if (rows.length === 0) return h("p", { class: "panel empty" }, "No responses in this time range.");
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Figures over time" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["From", "Requests", "Errors", "p50", "p95", "p99"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows)));
}

/** How long the requests of the whole range took, as a table; null without requests. */
function latencyTable(heat: Heat): HTMLElement | null {
  const rows = distribution(heat), all = rows.reduce((sum, b) => sum + b.count, 0);
  if (all === 0) return null;
  const line = (b: { from: number; to: number; count: number }): HTMLElement => h("tr", {},
    h("th", { scope: "row" }, b.to === 0 ? "not sent to the service" : `${f.micros(b.from)} to ${f.micros(b.to)}`), h("td", {}, f.count(b.count)), h("td", {}, f.share(b.count, all)));
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Requests by latency" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["Latency", "Requests", "Share"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows.map(line))));
}
