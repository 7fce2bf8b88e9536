// Raw events that are still in the store: a search page by page, newest first, or a live view.

import { csv, get, type Events, type RawEvent } from "./api";
import { announce, h } from "./dom";
import * as f from "./format";
import { grpcBadge, Notice, statusBadge } from "./parts";
import { link, span, type State } from "./state";

const pageSize = 100;
const failedMax = 50; // listed before all others
const liveMax = 300; // rows kept while watching
const waitingMax = 2000; // events kept while the list is paused

function eventRow(s: State, e: RawEvent): HTMLElement {
  const path = e.url_path ?? "(not stored)", t = new Date(e.ts);
  return h("tr", {},
    h("td", { class: "when" }, h("a", { href: link({ ...s, event: e.event_id }), class: "event-link" },
      h("time", { datetime: e.ts, title: e.ts }, f.moment(t).replace(/, \d\d:\d\d$/, ", "), f.timeWithMillis(t)))),
    h("td", {}, statusBadge(e.http_response_status_code ?? 0), ...(e.rpc_grpc_status_code === undefined ? [] : [" ", grpcBadge(e.rpc_grpc_status_code)])),
    h("td", { class: "name" }, h("span", { class: "method" }, e.http_request_method ?? ""), h("span", { class: "path", title: path }, f.path(path)),
      e.url_template && e.url_template !== path ? h("small", {}, "counted as ", f.path(e.url_template)) : null,
      e.route ? h("small", {}, "route ", e.route, (e.attempts ?? 0) > 1 ? `, ${e.attempts} attempts` : "") : null),
    h("td", { class: "num" }, f.micros(e.duration_us ?? 0)),
    h("td", { class: "num wide" }, f.bytes(e.http_response_body_size ?? 0)),
    h("td", { class: "wide" }, e.client_address ?? ""),
    h("td", { class: "wide" }, e.error_type ? h("code", {}, e.error_type) : ""));
}

/** A table of events; each has a link that shows all of its fields. */
export function eventsTable(s: State, events: RawEvent[], label = "Events"): HTMLElement {
  const head = [["Time", ""], ["Status", ""], ["Request", "name"], ["Took", "num"], ["Sent", "num wide"], ["Client", "wide"], ["Error", "wide"]];
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": label }, h("table", { class: "events" },
    h("thead", {}, h("tr", {}, ...head.map(([name, kind]) => h("th", { scope: "col", class: kind! }, name!)))),
    h("tbody", {}, ...events.map((e) => eventRow(s, e)))));
}

export class EventsView {
  readonly element: HTMLElement;
  private readonly notice = new Notice(true);
  private readonly failed = h("div");
  private readonly list = h("div");
  private readonly pause = h("button", { type: "button", hidden: true, "aria-pressed": "false", onclick: () => this.hold(!this.held) }, "Pause");
  private readonly save = h("button", { type: "button", onclick: () => { void this.download(); } }, "Save as CSV");
  private held = false;
  private readonly more: HTMLButtonElement;
  private readonly follow: HTMLButtonElement;
  private readonly fields: Record<"path" | "status" | "latency", HTMLInputElement>;
  private state!: State;
  private cursor: string | undefined;
  private loaded: RawEvent[] = [];
  private stream: EventSource | null = null;
  private timer = 0;

  constructor(private readonly go: (change: Partial<State>) => void) {
    const field = (placeholder: string): HTMLInputElement => h("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder });
    this.fields = { path: field("/users/{id} or /static/*"), status: field("404, 5xx, 500-504"), latency: field("250ms") };
    this.more = h("button", { type: "button", onclick: () => void this.older() }, "Load older events");
    this.follow = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.toggle() }, "Watch live");
    const label = (name: string, input: HTMLInputElement): HTMLElement => h("label", {}, name, input);
    this.element = h("div", {}, h("h1", {}, "Events"), this.notice.element,
      h("form", { class: "fields", onsubmit: (e) => { e.preventDefault(); this.submit(); } },
        label("Path or template", this.fields.path), label("Status", this.fields.status), label("Minimum duration", this.fields.latency),
        h("button", { type: "submit", class: "primary" }, "Search"), this.follow, this.pause, this.save),
      this.failed, this.list, h("p", {}, this.more));
    this.more.hidden = true;
    this.failed.append(h("p", { class: "panel empty" }, "Loading…")); // not in the list, which would move down when failed requests appear
  }

  private submit(): void {
    this.stop();
    this.go({ path: this.fields.path.value.trim(), status: this.fields.status.value.trim(), latency: this.fields.latency.value.trim(), method: "", host: "", route: "", first: "" });
  }

  private filters(): Record<string, string> {
    const s = this.state, below = s.path.endsWith("*");
    return { path: below ? "" : s.path, prefix: below ? s.path.slice(0, -1) : "", status: s.status, min_duration: s.latency, method: s.method, host: s.host, route: s.route };
  }

  apply(s: State): void {
    this.state = s;
    for (const key of ["path", "status", "latency"] as const) {
      if (document.activeElement !== this.fields[key]) this.fields[key].value = s[key];
    }
  }

  /** Loads the first page. Automatic updates load nothing, so that the list does not change while somebody reads it. */
  async reload(s: State, signal: AbortSignal, byItself = false): Promise<void> {
    if (byItself) return;
    this.stop();
    this.apply(s);
    const first = s.first === "failed" && s.status === "";
    const [page, failed] = await Promise.all([this.page(undefined, signal), first ? this.page(undefined, signal, { status: "5xx", limit: failedMax }) : null]);
    this.loaded = page.events;
    this.failed.replaceChildren();
    if (failed) {
      this.failed.append(h("h2", {}, failed.events.length === 0 ? "No request failed in this time range" : failed.next_cursor ? `The latest ${failedMax} failed requests` : f.plural(failed.events.length, "failed request", "failed requests")),
        failed.events.length > 0 ? eventsTable(s, failed.events, "Failed requests") : "", h("h2", {}, "All requests"));
    }
    this.show(page);
    announce(f.plural(page.events.length, "event", "events"));
  }

  private async download(): Promise<void> {
    const range = span(this.state);
    try {
      const text = await csv("/api/v1/events", { ...this.filters(), from: range.from.toISOString(), to: range.to.toISOString(), limit: 10_000 });
      const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      h("a", { href: address, download: `wayside-events-${range.from.toISOString().slice(0, 16).replace(":", "")}.csv` }).click();
      URL.revokeObjectURL(address);
    } catch (err) {
      this.notice.show("bad", (err as Error).message);
    }
  }

  private page(cursor: string | undefined, signal?: AbortSignal, more: Record<string, string | number> = {}): Promise<Events> {
    const range = span(this.state);
    return get<Events>("/api/v1/events", { ...this.filters(), from: range.from.toISOString(), to: range.to.toISOString(), limit: pageSize, cursor, ...more }, signal);
  }

  private async older(): Promise<void> {
    this.more.disabled = true;
    try {
      const page = await this.page(this.cursor);
      this.loaded.push(...page.events);
      this.show(page);
      this.notice.clear();
    } catch (err) {
      this.notice.show("bad", (err as Error).message);
    }
    this.more.disabled = false;
  }

  private show(page: Events): void {
    this.cursor = page.next_cursor;
    this.more.hidden = !page.next_cursor;
    this.list.replaceChildren(this.loaded.length > 0 ? eventsTable(this.state, this.loaded) : h("p", { class: "panel empty" }, this.nothing()));
  }

  /** Why the list is empty. */
  private nothing(): string {
    if (Object.values(this.filters()).some((v) => v !== "")) return "No event in this time range matches the filters.";
    return "No events in this time range. Archived events that are old enough (retention.events) are deleted from local disk; the archive keeps them.";
  }

  private toggle(): void {
    if (this.stream) {
      this.stop();
      return;
    }
    const query = new URLSearchParams(Object.entries(this.filters()).filter(([, v]) => v !== "")).toString();
    const stream = this.stream = new EventSource("/api/v1/tail" + (query ? "?" + query : ""));
    const waiting: RawEvent[] = [];
    let missed = 0;
    this.loaded = [];
    this.more.hidden = true;
    this.failed.replaceChildren();
    this.list.replaceChildren(h("p", { class: "panel empty" }, "Watching. Events appear as they are recorded."));
    stream.addEventListener("event", (m) => {
      waiting.push(JSON.parse((m as MessageEvent<string>).data) as RawEvent);
      if (waiting.length > waitingMax) missed += waiting.splice(0, waiting.length - liveMax).length;
    });
    stream.addEventListener("missed", (m) => { missed += Number((m as MessageEvent<string>).data); });
    stream.onerror = () => this.notice.show("wait", "The connection was lost; trying again.");
    stream.onopen = () => this.notice.clear();
    this.timer = window.setInterval(() => {
      if (this.held || document.hidden || waiting.length === 0) return;
      const fresh = waiting.splice(0).slice(-liveMax).reverse();
      this.prepend(fresh);
      if (missed > 0) this.notice.show("wait", `${f.plural(missed, "event was", "events were")} too many to show; they are in the books.`);
    }, 500);
    this.follow.setAttribute("aria-pressed", "true");
    this.follow.textContent = "Stop watching";
    this.pause.hidden = false;
  }

  /** Adds new rows above the others, and removes those at the end that are too many. */
  private prepend(fresh: RawEvent[]): void {
    const body = this.list.querySelector("tbody");
    if (!body) {
      this.list.replaceChildren(eventsTable(this.state, fresh));
    } else {
      for (const old of body.querySelectorAll(".fresh")) old.classList.remove("fresh");
      body.prepend(...fresh.map((e) => eventRow(this.state, e)));
      while (body.children.length > liveMax) body.lastElementChild!.remove();
    }
    const rows = this.list.querySelector("tbody")!.children;
    for (let i = 0; i < fresh.length; i++) rows[i]!.classList.add("fresh");
  }

  private hold(held: boolean): void {
    this.held = held;
    this.pause.setAttribute("aria-pressed", String(held));
    this.pause.textContent = held ? "Continue" : "Pause";
  }

  stop(): void {
    this.stream?.close();
    this.stream = null;
    window.clearInterval(this.timer);
    this.hold(false);
    this.pause.hidden = true;
    this.follow.setAttribute("aria-pressed", "false");
    this.follow.textContent = "Watch live";
  }

  recolor(): void { /* nothing is drawn */ }
  fail(text: string): void { this.notice.show("bad", text); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }
}
