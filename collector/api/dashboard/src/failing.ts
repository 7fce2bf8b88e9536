// What fails now, or is slower than usual: above everything else on the home page, in a place that is there also when nothing is wrong.

import type { Failing, Incident } from "./api";
import { announce, h, pressed, say } from "./dom";
import * as f from "./format";
import { methodBadge } from "./parts";
import { link, type State } from "./state";

const shownAtFirst = 5;
const alarmsShown = 2; // on the page of a path, and at most in an announcement

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

/** The incidents of the rows that a path page adds up: those of any method, host or route, where the page names none. */
export const incidentsWithin = (failing: Failing | null, s: State): Incident[] => (failing?.incidents ?? []).filter((i) =>
  i.path === s.path && (s.method === "" || i.method === s.method) && (s.host === "" || i.host === s.host) && (s.route === "" || i.route === s.route));

/** What is wrong with a path, in sentences; "" if nothing is. */
export function alarmText(alarms: Incident[], s: State): string {
  const shown = alarms.slice(0, alarmsShown), more = alarms.length - shown.length;
  return shown.map((i) => `${kindOf(i)}: ${s.method && s.host ? "" : `${i.method} on ${i.host}, `}${inWords(i)}, since ${since(i.since)}.`).join(" ")
    + (more > 0 ? ` All paths: ${f.plural(more, "more incident", "more incidents")}.` : "");
}

const kindOf = (i: Incident): string => (i.kind === "slow" ? "Slower than usual" : "Failing now");

/** What is wrong, in words. */
function inWords(i: Incident): string {
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

/**
 * The list of what fails now. Its place has the same height whether nothing fails or one path does, and nothing that comes with an update
 * changes this height: an incident that begins while somebody is reading, or about to press something, must not push the page down.
 */
export class FailingNow {
  readonly element = h("section", { class: "failing", "aria-labelledby": "failing-heading" });
  private readonly heading = h("h2", { id: "failing-heading" });
  private readonly more = h("button", { type: "button", class: "quiet", onclick: () => { this.room = this.last.length; this.draw(); } });
  private readonly note = h("p", { class: "muted" });
  private readonly list = h("ul");
  private room = 1; // lines for which there is a place
  private text = "";
  private known = false;
  private last: Incident[] = [];
  private state: State | null = null;

  constructor() {
    this.element.append(h("div", { class: "failing-head" }, this.heading, this.more), this.note, this.list);
    this.draw();
  }

  show(s: State, failing: Failing | null): void {
    const first = this.state === null, old = this.last;
    this.state = s;
    this.known = failing !== null;
    if (failing) this.last = failing.incidents; // otherwise, the last known ones stay
    const begun = this.last.filter((i) => !old.some((o) => o.kind === i.kind && sameRow(o, i)));
    if (!first && begun.length > 0) announce(begun.slice(0, alarmsShown).map((i) => `${kindOf(i)}: ${i.method} ${f.path(i.path)}, ${inWords(i)}.`).join(" "));
    say(this.note, failing === null ? "There was no response to this question; trying again." : (failing.rows === 0 ? "There were no requests in the last five minutes."
      : `${f.plural(failing.rows, "path", "paths")} checked at ${f.timeOfDay(new Date(failing.checked_at))}; none is failing or slower than usual.`));
    if (first) return this.fit();
    const height = (): number => this.element.getBoundingClientRect().height, before = height();
    this.draw();
    if (height() < before) this.element.style.minHeight = `${before}px`;
  }

  /** To be called when wayside does not respond: then nobody knows whether it is still true that nothing is failing. */
  lost(): void {
    this.known = false;
    this.draw();
  }

  /** Makes the place as large as its content. To be called only when the user changes the view, because everything below it moves. */
  fit(): void {
    this.room = Math.min(Math.max(this.last.length, 1), shownAtFirst);
    this.element.style.minHeight = "";
    this.draw();
  }

  private draw(): void {
    const text = JSON.stringify([this.known, this.last, this.room]);
    if (text === this.text || pressed(this.list)) return; // so that neither focus nor selection is lost with an update
    this.text = text;
    const focused = this.list.contains(document.activeElement) ? (document.activeElement as HTMLAnchorElement).getAttribute("href") : null;
    const errors = this.last.some((i) => i.kind === "errors"), any = this.last.length > 0;
    this.element.className = "failing " + (errors ? "" : any ? "only-slow" : this.known ? "nothing" : "unknown");
    this.element.style.setProperty("--room", String(this.room));
    say(this.heading, errors ? "Failing now" : any ? "Slower than usual" : this.known ? "Nothing is failing" : "State not known");
    this.note.hidden = any;
    this.list.hidden = !any;
    const shown = this.last.slice(0, this.room);
    this.list.replaceChildren(...shown.map((i) => line(this.state!, i)));
    if (focused) this.list.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.more.hidden = shown.length >= this.last.length;
    say(this.more, `Show ${f.plural(this.last.length - shown.length, "more path", "more paths")}`);
  }
}
