// One path: its rate, errors and latency over time, its statuses, and its latest events.

import { get, type Events, type Recent, type Series } from "./api";
import { Figure } from "./chart";
import { errorsChart, latencyChart, recentChart, requestsChart } from "./charts";
import { announce, h } from "./dom";
import { eventsTable } from "./events-view";
import * as f from "./format";
import { emptyTiles, grpcList, methodBadge, Notice, statusList, tiles } from "./parts";
import { link, span, step, type State } from "./state";

export class PathView {
  readonly element: HTMLElement;
  private readonly notice = new Notice();
  private readonly title = h("div", { class: "title" });
  private readonly figures = h("div", {}, emptyTiles());
  private readonly now = new Figure();
  private readonly requests = new Figure();
  private readonly errors = new Figure();
  private readonly latency = new Figure();
  private readonly statuses = h("div", { class: "panel pad" });
  private readonly kinds = h("div");
  private readonly events = h("div");
  private readonly table = h("div");

  constructor() {
    this.element = h("div", {}, this.title, this.notice.element, this.figures,
      h("div", { class: "charts" }, this.now.element, this.requests.element, this.errors.element, this.latency.element),
      h("details", { class: "as-table" }, h("summary", {}, "The same figures as a table"), this.table),
      h("section", {}, h("h2", {}, "Statuses"), this.statuses, this.kinds),
      h("section", {}, h("h2", {}, "Latest events"), this.events));
  }

  apply(s: State): void {
    this.title.replaceChildren(
      h("a", { href: link({ ...s, view: "paths", path: "", method: "", host: "", route: "" }), class: "back" }, "← All paths"),
      h("h1", {}, methodBadge(s.method || "any method"), h("span", { class: "path" }, s.path)),
      h("p", { class: "muted" }, (s.host ? `on ${s.host}` : "on any host") + (s.route ? `, route ${s.route}` : "")));
  }

  async reload(s: State, signal: AbortSignal): Promise<void> {
    const range = span(s);
    const row = { path: s.path, method: s.method, host: s.host, route: s.route };
    const period = { from: range.from.toISOString(), to: range.to.toISOString() };
    const [series, recent, events] = await Promise.all([
      get<Series>("/api/v1/series", { ...row, ...period, step: step(range.hours), compare: s.compare ? "previous" : undefined }, signal),
      get<Recent>("/api/v1/recent", {}, signal),
      get<Events>("/api/v1/events", { ...row, ...period, limit: 25 }, signal).catch((err: unknown) => {
        if (signal.aborted) throw err;
        return null;
      }),
    ]);
    this.apply(s);
    this.figures.replaceChildren(tiles(series.totals, series.before?.totals));
    const mine = recent.paths.find((r) => r.path === s.path && r.method === s.method && r.host === s.host && (r.route ?? "") === s.route);
    const none = recent.totals.count.map(() => 0);
    this.now.show(recentChart(recent, mine ?? { count: none, errors: none }));
    this.requests.show(requestsChart(series));
    this.errors.show(errorsChart(series));
    this.latency.show(latencyChart(series));
    this.table.replaceChildren(pointsTable(series));
    this.statuses.replaceChildren(series.totals.count > 0 ? statusList(series.totals.status) : h("p", { class: "empty" }, "No responses in this time range."));
    const grpc = series.totals.grpc;
    this.kinds.replaceChildren(...(grpc ? [h("h3", {}, "gRPC status"), grpcList(grpc)] : []), ...errorKinds(series.totals.error_types));
    this.events.replaceChildren(events === null ? h("p", { class: "panel empty" }, "The events cannot be read at the moment.") : eventsTable(events.events));
    this.events.append(h("p", {}, h("a", { href: link({ ...s, view: "events" }) }, "Search the events of this path")));
    announce(`${f.plural(series.totals.count, "request", "requests")} to ${s.path}`);
  }

  recolor(): void { for (const chart of [this.now, this.requests, this.errors, this.latency]) chart.recolor(); }
  fail(text: string): void { this.notice.show("bad", text); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }
}

function errorKinds(kinds: Record<string, number> | undefined): Node[] {
  const known = Object.entries(kinds ?? {}).sort((a, b) => b[1] - a[1]);
  if (known.length === 0) return [];
  return [h("h3", {}, "Errors by kind"), h("ul", { class: "kinds panel pad" }, ...known.map(([kind, n]) => h("li", {}, h("code", {}, kind), " ", f.count(n))))];
}

/** The figures of the charts as a table, for screen readers. */
function pointsTable(series: Series): HTMLElement {
  const cell = (text: string): HTMLElement => h("td", {}, text);
  const rows = series.points.filter((p) => p.count > 0).reverse().map((p) => h("tr", {},
    h("th", { scope: "row" }, f.moment(new Date(p.time))), cell(f.count(p.count)), cell(f.count(p.errors)),
    cell(f.micros(p.latency_us.p50)), cell(f.micros(p.latency_us.p95)), cell(f.micros(p.latency_us.p99))));
  if (rows.length === 0) return h("p", { class: "panel empty" }, "No responses in this time range.");
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Figures over time" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["From", "Requests", "Errors", "p50", "p95", "p99"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows)));
}
