// What fails now, or is slower than usual: above everything else on the home page, and empty when nothing is wrong.

import type { Failing, Incident } from "./api";
import { h, pressed } from "./dom";
import * as f from "./format";
import { methodBadge } from "./parts";
import { link, type State } from "./state";

const shownAtFirst = 5;

/** A moment of the last days: the time of day, with the day if it is not today. */
export function since(text: string): string {
  const t = new Date(text);
  return f.today(t) ? f.hourMinute(t) : f.moment(t);
}

/** The range in which the beginning of an incident can be seen. */
function rangeOf(i: Incident): string {
  const hours = (Date.now() - Date.parse(i.since)) / 3_600_000;
  return hours < 0.75 ? "1h" : hours < 5 ? "6h" : hours < 22 ? "24h" : "7d";
}

const sameRow = (i: Incident, row: { path: string; method: string; host: string; route?: string }): boolean =>
  i.path === row.path && i.method === row.method && i.host === row.host && (i.route ?? "") === (row.route ?? "");

/** The incidents of one row. */
export const incidentsOf = (failing: Failing | null, row: { path: string; method: string; host: string; route?: string }): Incident[] =>
  (failing?.incidents ?? []).filter((i) => sameRow(i, row));

/** What is wrong, in words. */
export function inWords(i: Incident): string {
  if (i.kind === "slow") return `p95 is ${f.micros(i.p95_us ?? 0)}, usually ${f.micros(i.usual_p95_us ?? 0)}`;
  return `${f.percent(i.share)} of its requests fail, ${i.usual_count > 0 ? `usually ${f.percent(i.usual_share)}` : "a new path"}`;
}

function line(s: State, i: Incident): HTMLElement {
  const slow = i.kind === "slow";
  const figure = slow ? f.micros(i.p95_us ?? 0) : f.percent(i.share);
  const usual = slow ? `p95, usually ${f.micros(i.usual_p95_us ?? 0)}` : i.usual_count > 0 ? `errors, usually ${f.percent(i.usual_share)}` : "errors, a new path";
  return h("li", { class: slow ? "slow" : "bad" }, h("a", {
    href: link({ ...s, view: "path", path: i.path, method: i.method, host: i.host, route: i.route ?? "", range: rangeOf(i), from: "", to: "", compare: false, search: "", status: "", latency: "" }),
  },
    h("span", { class: "incident-figure" }, h("strong", {}, figure), h("small", {}, usual)),
    h("span", { class: "incident-name" }, h("span", {}, methodBadge(i.method), h("span", { class: "path", title: i.path }, f.path(i.path))),
      h("small", {}, i.route ? `${i.host}, route ${i.route}` : i.host)),
    h("span", { class: "incident-since" }, h("strong", {}, "since ", h("time", { datetime: i.since }, since(i.since))),
      h("small", {}, `${f.plural(i.affected, slow ? "slow request" : "failed request", slow ? "slow requests" : "failed requests")}`))));
}

export class FailingNow {
  readonly element = h("section", { class: "failing", hidden: true, "aria-labelledby": "failing-heading" });
  private readonly heading = h("h2", { id: "failing-heading" });
  private readonly list = h("ul");
  private readonly more = h("button", { type: "button", class: "quiet", onclick: () => { this.all = true; this.draw(); } });
  private all = false;
  private text = "";
  private last: Incident[] = [];
  private total = 0;
  private state: State | null = null;

  constructor() {
    this.element.append(this.heading, this.list, this.more);
  }

  show(s: State, failing: Failing | null): void {
    this.state = s;
    this.last = failing?.incidents ?? [];
    this.total = failing?.total ?? 0;
    this.draw();
  }

  private draw(): void {
    const s = this.state!;
    const text = JSON.stringify([this.last, this.all]);
    if (text === this.text || pressed(this.list)) return; // so that neither focus nor selection is lost with an update
    this.text = text;
    const focused = this.list.contains(document.activeElement) ? (document.activeElement as HTMLAnchorElement).getAttribute("href") : null;
    const errors = this.last.filter((i) => i.kind === "errors").length;
    this.element.hidden = this.last.length === 0;
    this.element.classList.toggle("only-slow", errors === 0);
    this.heading.textContent = errors === 0 ? "Slower than usual" : "Failing now";
    const shown = this.all ? this.last : this.last.slice(0, shownAtFirst);
    this.list.replaceChildren(...shown.map((i) => line(s, i)));
    if (focused) this.list.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.more.hidden = shown.length >= this.last.length;
    this.more.textContent = `Show ${f.plural(this.total - shown.length, "more path", "more paths")}`;
  }
}
