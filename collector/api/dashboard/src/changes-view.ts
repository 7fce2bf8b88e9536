// What has changed: the selected range against the day or the week before, or the time since a mark against the time before it.

import { get, marksOf, type Changes, type Mark, type PathChange } from "./api";
import { announce, h, say, swap } from "./dom";
import * as f from "./format";
import { methodBadge, Notice, pathLink } from "./parts";
import { span, type State } from "./state";

const day = 86_400_000;
const kinds: Record<string, string> = { failing: "Fails more", slower: "Slower", new: "New", vanished: "Vanished" };

/** The two ranges that are compared. */
interface Ranges { from: Date; to: Date; beforeFrom: Date; beforeTo: Date }

export class ChangesView {
  readonly element: HTMLElement;
  private readonly notice = new Notice(true);
  private readonly against = h("select", { id: "against", onchange: () => this.go({ against: this.against.value }) });
  private readonly compared = h("p", { class: "muted" });
  private readonly list = h("div", {}, h("p", { class: "panel empty" }, "Loading…"));
  private marks: Mark[] = [];

  constructor(private readonly go: (change: Partial<State>) => void) {
    this.element = h("div", {}, h("h1", {}, "What has changed"), this.notice.element,
      h("p", {}, h("label", { for: "against" }, "Compared with "), this.against), this.compared, this.list);
  }

  apply(s: State): void {
    const options: [string, string][] = [["yesterday", "the day before"], ["week", "the week before"],
      ...[...this.marks].reverse().slice(0, 20).map((m): [string, string] => [m.time, `before “${m.text}”, ${f.moment(new Date(m.time))}`])];
    swap(this.against, ...options.map(([value, text]) => h("option", { value }, text)));
    this.against.value = s.against;
    if (this.against.value !== s.against) this.against.value = "yesterday";
  }

  private ranges(s: State): Ranges {
    const range = span(s), length = range.to.getTime() - range.from.getTime();
    const mark = Date.parse(s.against);
    if (!Number.isNaN(mark)) {
      const to = Math.max(range.to.getTime(), mark + 60_000);
      return { from: new Date(mark), to: new Date(to), beforeFrom: new Date(2 * mark - to), beforeTo: new Date(mark) };
    }
    const unit = s.against === "week" ? 7 * day : day, shift = Math.ceil(length / unit) * unit; // so that the two do not overlap
    return { from: range.from, to: range.to, beforeFrom: new Date(range.from.getTime() - shift), beforeTo: new Date(range.to.getTime() - shift) };
  }

  async reload(s: State, signal: AbortSignal, byItself = false): Promise<void> {
    const r = this.ranges(s), now = new Date();
    const [changes, marks] = await Promise.all([
      get<Changes>("/api/v1/changes", { from: r.from.toISOString(), to: r.to.toISOString(), compare_from: r.beforeFrom.toISOString(), compare_to: r.beforeTo.toISOString(), limit: 200 }, signal),
      marksOf(new Date(now.getTime() - 30 * day), now, signal),
    ]);
    this.marks = marks.filter((m) => m.kind !== "stop");
    this.apply(s);
    say(this.compared, `${f.moment(new Date(changes.from))} – ${f.moment(new Date(changes.to))} with ${f.moment(new Date(changes.before.from))} – ${f.moment(new Date(changes.before.to))}, ${f.zone()}`);
    swap(this.list, changes.before.totals.seconds === 0 ? h("p", { class: "panel empty" }, "There are no figures of the other range: wayside did not run, or was not installed yet.")
      : changes.changes.length === 0 ? h("p", { class: "panel empty" }, "Nothing that matters: no path fails more or is slower, none is new, and none has vanished.")
        : table(s, changes));
    if (!byItself) announce(f.plural(changes.total, "change", "changes"));
  }

  recolor(): void { /* nothing is drawn */ }
  fail(text: string): void { this.notice.show("bad", text); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }
}

/** What is different, in words. */
function difference(c: PathChange): string {
  switch (c.kind) {
    case "failing": return `${f.percent(c.errors / c.count)} errors, before ${f.percent(c.before.count > 0 ? c.before.errors / c.before.count : 0)}`;
    case "slower": return `p95 ${f.micros(c.latency_us.p95)}, before ${f.micros(c.before.latency_us.p95)}`;
    case "new": return `${f.plural(c.count, "request", "requests")}, none before`;
    default: return `no requests, before ${f.count(c.before.count)}`;
  }
}

function table(s: State, changes: Changes): HTMLElement {
  const head = ["Path", "Change", "Now and before", "Affected requests"];
  const rows = changes.changes.map((c) => h("tr", {},
    h("th", { scope: "row", class: "name" }, h("a", { href: pathLink(s, c) }, methodBadge(c.method), h("span", { class: "path", title: c.path }, f.path(c.path))),
      h("small", {}, c.route ? `${c.host}, route ${c.route}` : c.host)),
    h("td", {}, h("span", { class: "status " + (c.kind === "failing" ? "bad" : c.kind === "slower" ? "wait" : "") }, kinds[c.kind] ?? c.kind)),
    h("td", {}, difference(c)), h("td", { class: "num" }, f.count(c.affected))));
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Changes" }, h("table", { class: "paths changes" },
    h("thead", {}, h("tr", {}, ...head.map((name, i) => h("th", { scope: "col", class: i === 0 ? "name" : "" }, name)))), h("tbody", {}, ...rows)));
}
