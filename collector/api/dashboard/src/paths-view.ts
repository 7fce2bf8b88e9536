// The hot paths: requests, errors and latency of each path.

import { failingNow, get, marksOf, type Activity, type Failing, type Figures, type Paths, type Recent, type Row, type Series } from "./api";
import { Figure, shrink, sparkline } from "./chart";
import { recentChart, recentShown, requestsChart, sinceFirst } from "./charts";
import { announce, h, pressed, say, swap } from "./dom";
import * as f from "./format";
import { FailingNow, incidentsOf } from "./failing";
import { emptyTiles, methodBadge, Notice, pathLink, tiles } from "./parts";
import { eventsOf, span, step, zoomed, type State } from "./state";

interface Column {
  key: string;
  name: string;
  value: (r: Row) => number | string;
  cell: (r: Row, was: Figures | undefined) => (Node | string | null)[];
  class?: string;
}

const failing = (r: Row): number => (r.count > 0 ? r.errors / r.count : 0);
const changed = (now: number, was: number | undefined): Node | null =>
  was === undefined ? null : h("small", {}, f.change(now, was).text);

const columns: Column[] = [
  { key: "count", name: "Requests", value: (r) => r.count, cell: (r, was) => [f.short(r.count), changed(r.count, was?.count)] },
  { key: "rate", name: "Rate", class: "wide", value: (r) => r.rate, cell: (r) => [f.rate(r.rate)] },
  {
    key: "errors", name: "Errors", value: failing,
    cell: (r) => (r.errors === 0 ? [h("span", { class: "none" }, "0")] : [h("span", { class: "failed" }, f.share(r.errors, r.count)), h("small", {}, f.count(r.errors))]),
  },
  { key: "p50", name: "p50", class: "wide", value: (r) => r.latency_us.p50, cell: (r, was) => [f.latency(r, r.latency_us.p50), changed(r.latency_us.p50, was?.latency_us.p50)] },
  { key: "p95", name: "p95", value: (r) => r.latency_us.p95, cell: (r, was) => [f.latency(r, r.latency_us.p95), changed(r.latency_us.p95, was?.latency_us.p95)] },
  { key: "p99", name: "p99", class: "wide", value: (r) => r.latency_us.p99, cell: (r, was) => [f.latency(r, r.latency_us.p99), changed(r.latency_us.p99, was?.latency_us.p99)] },
  { key: "out", name: "Sent", class: "wide", value: (r) => r.bytes_out, cell: (r) => [f.bytes(r.bytes_out)] },
];

const rowsShown = 200;
const keyOf = (r: { host: string; method: string; path: string; route?: string }): string => `${r.method} ${r.host} ${r.path}` + (r.route ? ` ${r.route}` : "");

export class PathsView {
  readonly element: HTMLElement;
  private readonly notice = new Notice(true);
  private readonly failingNow = new FailingNow();
  private readonly figures = h("div", {}, emptyTiles());
  private readonly now: Figure;
  private readonly chart: Figure;
  private readonly heads = new Map<string, HTMLElement>(); // by the column's key
  private readonly sparkHead = h("th", { scope: "col", class: "spark-cell" });
  private readonly body = h("tbody");
  private readonly foot = h("p", { class: "muted" });
  private readonly search: HTMLInputElement;
  private readonly route = h("select", { "aria-label": "Route", onchange: () => this.go({ route: this.route.value }) });
  private state!: State;
  private data: Paths | null = null;
  private failing: Failing | null = null;
  private activity = new Map<string, Activity>();
  private manyHosts = false;
  private recently = "Recently";
  private drawn = new Map<string, { tr: HTMLElement; text: string }>();

  constructor(private readonly go: (change: Partial<State>) => void) {
    const pointing = { zoom: (from: number, to: number) => this.go(zoomed(from, to)), open: (from: number, to: number) => this.go(eventsOf(from, to)) };
    this.now = new Figure(pointing);
    this.chart = new Figure(pointing);
    this.search = h("input", {
      type: "search", id: "search", autocomplete: "off", spellcheck: "false", placeholder: "Part of a path, host or method",
      "aria-keyshortcuts": "/", oninput: () => {
        this.go({ search: this.search.value });
        announce(this.foot.textContent || "No path matches the search.");
      },
    });
    this.element = h("div", { class: "home first" },
      h("h1", { class: "unseen" }, "Hot paths"), this.notice.element, this.failingNow.element, this.figures,
      h("div", { class: "charts" }, this.now.element, this.chart.element),
      h("section", { "aria-labelledby": "paths-heading" },
        h("div", { class: "bar" }, h("h2", { id: "paths-heading" }, "Hot paths"), this.route,
          h("label", { class: "search" }, h("span", { class: "unseen" }, "Search the paths"), this.search, h("kbd", { "aria-hidden": "true" }, "/"))),
        h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Table of hot paths" },
          h("table", { class: "paths" }, h("thead", {}, this.head()), this.body)),
        this.foot));
    for (let i = 0; i < 6; i++) this.body.append(h("tr", { class: "waiting" }, h("td", { colspan: columns.length + 2 }, h("span", { class: "bone" }))));
  }

  /** Shows what is there with another order or search; reload asks again. */
  apply(s: State): void {
    this.state = s;
    if (document.activeElement !== this.search) this.search.value = s.search;
    this.heading();
    this.routes();
    this.table();
  }

  async reload(s: State, signal: AbortSignal, byItself = false): Promise<void> {
    this.state = s;
    if (!byItself) this.failingNow.fit();
    const range = span(s), compare = s.compare ? "previous" : undefined;
    const query = { ...range.period, compare };
    const [failing, marks, data, recent, series] = await Promise.all([
      failingNow(signal), marksOf(range.from, range.to, signal),
      get<Paths>("/api/v1/paths", { ...query, limit: 2000, spark: range.hours > 24 ? 60 : undefined }, signal),
      get<Recent>("/api/v1/recent", {}, signal),
      get<Series>("/api/v1/series", { ...query, step: step(range.hours) }, signal),
    ]);
    this.data = data;
    this.failing = failing;
    s = this.state; // another order or search may have been chosen since the request
    this.failingNow.show(s, failing);
    this.activity = new Map<string, Activity>(range.hours > 24
      ? data.paths.map((r) => [keyOf(r), { count: r.spark ?? [], errors: [] }])
      : recent.paths.map((r) => [keyOf(r), { count: r.count.slice(sinceFirst(recent)), errors: r.errors.slice(sinceFirst(recent)) }]));
    this.recently = `Last ${recentShown(recent)}`;
    swap(this.figures, tiles(data.totals, data.before?.totals, failing?.incidents.some((i) => i.kind === "errors")));
    this.now.show(recentChart(recent, marks));
    this.chart.show(requestsChart(series, marks));
    this.apply(s);
    this.element.classList.remove("first"); // nothing moves when it appears
    if (!byItself) announce(`${f.plural(data.totals.count, "request", "requests")}, ${f.share(data.totals.errors, data.totals.count)} errors`);
  }

  recolor(): void { this.chart.recolor(); this.now.recolor(); }
  fail(text: string): void { this.element.classList.remove("first"); this.notice.show("bad", text); this.failingNow.lost(); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }

  /** Makes the head of the table. Its buttons are never replaced: an update in the middle of a press would undo the press. */
  private head(): HTMLElement {
    const sortable = (key: string, name: string, className: string): HTMLElement => {
      const press = (): void => this.go({ sort: key, up: this.state.sort === key ? !this.state.up : key === "path" });
      const th = h("th", { scope: "col", class: className }, h("button", { type: "button", "data-key": key, onclick: press }, name));
      this.heads.set(key, th);
      return th;
    };
    return h("tr", {}, sortable("path", "Path", "name"), this.sparkHead, ...columns.map((c) => sortable(c.key, c.name, c.class ?? "")));
  }

  private heading(): void {
    for (const [key, th] of this.heads) {
      if (this.state.sort === key) th.setAttribute("aria-sort", this.state.up ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
    say(this.sparkHead, span(this.state).hours > 24 ? "Over the range" : this.recently);
  }

  /** The choice of a route, only where there are routes. */
  private routes(): void {
    const names = [...new Set((this.data?.paths ?? []).flatMap((r) => r.route ?? []))].sort();
    if (this.state.route && !names.includes(this.state.route)) names.push(this.state.route);
    this.route.hidden = names.length === 0;
    const wanted = ["", ...names];
    if (wanted.some((name, i) => this.route.options[i]?.value !== name) || this.route.options.length !== wanted.length) {
      this.route.replaceChildren(...wanted.map((name) => h("option", { value: name }, name || "All routes")));
    }
    this.route.value = this.state.route;
  }

  /** The host of each row, if there are several. */
  private hostsDiffer(): boolean {
    const rows = this.data?.paths ?? [];
    return rows.some((r) => r.host !== rows[0]!.host);
  }

  private rows(): Row[] {
    const s = this.state, wanted = s.search.trim().toLowerCase();
    const value = columns.find((c) => c.key === s.sort)?.value ?? (s.sort === "path" ? (r: Row) => r.path : (r: Row) => r.count);
    const sign = s.up ? 1 : -1;
    return (this.data?.paths ?? [])
      .filter((r) => r.count > 0 && (s.route === "" || r.route === s.route) && (wanted === "" || keyOf(r).toLowerCase().includes(wanted)))
      .sort((a, b) => {
        const x = value(a), y = value(b);
        return x < y ? -sign : x > y ? sign : b.count - a.count || (a.path < b.path ? -1 : 1);
      });
  }

  private table(): void {
    const data = this.data;
    if (!data || pressed(this.body)) return;
    this.manyHosts = this.hostsDiffer();
    const rows = this.rows();
    const shown = rows.slice(0, rowsShown);
    const focused = document.activeElement;
    const next = new Map<string, { tr: HTMLElement; text: string }>();
    for (const r of shown) next.set(keyOf(r), this.row(r));
    this.drawn = next;
    const order = [...next.values()].map((d) => d.tr);
    // Only rows that must move are moved, because a row that moves loses selection and focus.
    order.forEach((tr, i) => {
      if (this.body.children[i] !== tr) this.body.insertBefore(tr, this.body.children[i] ?? null);
    });
    while (this.body.children.length > order.length) this.body.lastElementChild!.remove();
    if (focused instanceof HTMLElement && focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    if (shown.length === 0) this.body.replaceChildren(h("tr", {}, h("td", { class: "empty", colspan: columns.length + 2 }, ...this.nothing(data))));
    const more = rows.length > shown.length ? ` The first ${rowsShown} are listed; a search finds the others.` : "";
    say(this.foot, shown.length === 0 ? "" : `${f.plural(rows.length, "path", "paths")}${this.state.search ? " found" : ""}.${more}`);
  }

  /** Reuses a row that would look the same, so that neither focus nor selection is lost with an update. */
  private row(r: Row): { tr: HTMLElement; text: string } {
    const key = keyOf(r), activity = this.activity.get(key), was = r.before;
    const alarms = incidentsOf(this.failing, r);
    const host = this.manyHosts ? r.host : "";
    const href = pathLink(this.state, r);
    const small = r.route ? (host ? `${host}, ` : "") + `route ${r.route}` : host;
    const text = JSON.stringify([r, activity, small, alarms.map((i) => i.kind), span(this.state).hours, href]);
    const old = this.drawn.get(key);
    if (old?.text === text) return old;
    const tr = old?.tr ?? h("tr", {}, h("th", { scope: "row", class: "name" },
      h("a", { href }, methodBadge(r.method), h("span", { class: "path", title: r.path }, f.path(r.path))), h("small", {}, small)));
    tr.querySelector("small")!.textContent = small;
    tr.querySelector("a")!.setAttribute("href", href);
    tr.className = alarms.some((i) => i.kind === "errors") ? "alarm" : alarms.length > 0 ? "alarm-slow" : "";
    const width = span(this.state).hours > 24 ? 90 : 60;
    while (tr.children.length > 1) tr.lastElementChild!.remove();
    tr.append(h("td", { class: "spark-cell" }, activity ? sparkline(shrink(activity.count, width), shrink(activity.errors, width)) : h("span", { class: "none" }, "–")),
      ...columns.map((c) => {
        const td = h("td", { class: c.class });
        for (const part of c.cell(r, was)) if (part !== null) td.append(part);
        return td;
      }));
    return { tr, text };
  }

  private nothing(data: Paths): Node[] {
    if (data.paths.some((r) => r.count > 0)) return [h("strong", {}, "No path matches the search."), h("button", { type: "button", class: "quiet", onclick: () => { this.search.value = ""; this.go({ search: "", route: "" }); } }, "Clear it")];
    return [h("strong", {}, "No requests in this time range."),
      h("span", {}, "Send one through the proxy, and it appears here about a second later. The proxy's address is in wayside's first log line.")];
  }
}
