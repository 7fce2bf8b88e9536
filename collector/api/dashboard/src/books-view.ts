// The books: accounting, spool, storage, jobs, archive and the servers behind wayside, and a verdict in words.

import { checks, get, type Accounting, type Archives, type Check, type Groups, type Jobs, type Storage } from "./api";
import { announce, h, swap } from "./dom";
import * as f from "./format";
import { jobsPanel, ofJobs } from "./jobs";
import { comingBack, Notice, reasons } from "./parts";
import { ofServers, serversPanel } from "./servers";
import type { State } from "./state";

type Kind = "good" | "wait" | "bad";
export interface Finding { kind: Kind; about: string; text: string }

const signs: Record<Kind, string> = { good: "✓", wait: "!", bad: "✕" };
const words: Record<Kind, string> = { good: "OK", wait: "Attention", bad: "Problem" };

export class BooksView {
  readonly element: HTMLElement;
  private readonly notice = new Notice(true);
  private readonly verdict = h("p", { class: "verdict", role: "status" }, "Reading the books…");
  private readonly findings = h("ul", { class: "findings panel" });
  private readonly flow = h("div");
  private readonly identities = h("ul", { class: "identities" });
  private readonly storage = h("div");
  private readonly archive = h("div");
  private readonly jobs = h("div");
  private readonly servers = h("section");
  private lastResponses = -1;
  private unbalanced = 0; // readings in a row

  constructor() {
    this.element = h("div", { class: "first" }, h("h1", {}, "The books"), this.notice.element, this.verdict, this.findings,
      h("section", {}, h("h2", {}, "Every response, accounted for"), this.flow,
        h("details", {}, h("summary", {}, "Conditions that these figures must meet"), this.identities)),
      h("section", {}, h("h2", {}, "Storage"), this.storage),
      h("section", {}, h("h2", {}, "Scheduled jobs"), this.jobs),
      h("section", {}, h("h2", {}, "Archive"), this.archive), this.servers);
  }

  apply(_: State): void { /* the range does not matter here */ }

  async reload(_: State, signal: AbortSignal): Promise<void> {
    const optional = <T>(p: Promise<T>): Promise<T | Error> => p.catch((err: Error) => {
      if (signal.aborted) throw err;
      return err;
    });
    const [accounts, lines, storage, archives, jobs, groups] = await Promise.all([
      get<Accounting>("/api/v1/accounting", {}, signal), optional(checks(signal)),
      optional(get<Storage>("/api/v1/storage", {}, signal)), optional(get<Archives>("/api/v1/archives", { limit: 10 }, signal)),
      optional(get<Jobs>("/api/v1/jobs", {}, signal)), optional(get<Groups>("/api/v1/upstreams", {}, signal)),
    ]);
    const findings = [...this.ofAccounts(accounts), ...ofChecks(lines), ...ofStorage(storage), ...ofJobs(jobs), ...ofServers(groups)];
    this.element.classList.remove("first"); // nothing moves when it appears
    this.say(findings);
    swap(this.flow, flow(accounts));
    swap(this.identities, ...identities(accounts));
    swap(this.storage, storage instanceof Error ? unreadable(storage) : storagePanel(storage));
    swap(this.jobs, jobs instanceof Error ? unreadable(jobs) : jobsPanel(jobs));
    const servers = serversPanel(groups);
    swap(this.servers, ...(servers ? [h("h2", {}, "Servers behind wayside"), servers] : []));
    swap(this.archive, archives instanceof Error ? unreadable(archives) : archivePanel(archives));
  }

  private say(findings: Finding[]): void {
    const worst: Kind = findings.some((x) => x.kind === "bad") ? "bad" : findings.some((x) => x.kind === "wait") ? "wait" : "good";
    const text = { good: "All is well.", wait: "All responses are accounted for, but something needs attention.", bad: "Something is wrong. Traffic is still served." }[worst];
    this.verdict.className = "verdict " + worst;
    swap(this.verdict, h("span", { class: "sign " + worst, "aria-hidden": "true" }, signs[worst]), text);
    swap(this.findings, ...findings.map((x) => h("li", { class: x.kind },
      h("span", { class: "sign " + x.kind, "aria-hidden": "true" }, signs[x.kind]), h("span", { class: "unseen" }, words[x.kind] + ": "),
      h("strong", {}, x.about), h("span", {}, x.text))));
    announce(text);
  }

  /** The figures are read one after the other, so they may differ by a few responses during traffic, but not without. */
  private ofAccounts(a: Accounting): Finding[] {
    const moving = a.responses !== this.lastResponses;
    this.lastResponses = a.responses;
    this.unbalanced = a.balanced ? 0 : this.unbalanced + 1;
    const out: Finding[] = [];
    if (a.balanced) out.push({ kind: "good", about: "Accounting", text: `The books add up: each of ${f.plural(a.responses, "response is", "responses is")} accounted for.` });
    else if (moving || this.unbalanced < 2) out.push({ kind: "good", about: "Accounting", text: "Responses are being recorded while the figures are read; the figures agree when traffic pauses." });
    else out.push({ kind: "bad", about: "Accounting", text: "The books do not add up; the list below says which figures disagree. Please report this, and keep the data directory." });
    if (a.dropped_total > 0) out.push({ kind: "wait", about: "Dropped", text: `${f.plural(a.dropped_total, "response", "responses")} could not be recorded (${reasons(a.dropped)}). They were served, and are counted as dropped.` });
    if (a.quarantined > 0) out.push({ kind: "wait", about: "Quarantine", text: `${f.plural(a.quarantined, "event is", "events are")} in the quarantine: damaged, or lost with a damaged store and not in the archive.` });
    if (a.spooled > 100_000) out.push({ kind: "wait", about: "Backlog", text: `${f.count(a.spooled)} responses wait in the spool to be counted.` });
    return out;
  }

  recolor(): void { /* nothing is drawn */ }
  fail(text: string): void { this.element.classList.remove("first"); this.notice.show("bad", text); this.element.classList.add("stale"); }
  well(): void { this.notice.clear(); this.element.classList.remove("stale"); }
}

const title = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

function ofChecks(lines: Check[] | Error): Finding[] {
  if (lines instanceof Error) return [{ kind: "bad", about: "Health", text: "The health checks cannot be read." }];
  return lines.map((c) => ({ kind: c.ok ? "good" : "bad", about: title(c.name), text: sentence(figures(c.detail)) }));
}

/** Formats the figures in the text of a check. */
const figures = (text: string): string => text.replace(/\b(\d+) bytes\b/g, (_, n: string) => f.bytes(Number(n)))
  .replace(/\b(\d{4,}) (events|requests|upstream)\b/g, (_, n: string, what: string) => `${f.count(Number(n))} ${what}`);

const sentence = (text: string): string => (/^[a-z]+:/.test(text) ? text : title(text)) + (/[.!?]$/.test(text) ? "" : ".");

function ofStorage(s: Storage | Error): Finding[] {
  if (s instanceof Error) return [{ kind: "bad", about: "Storage", text: sentence(s.message) }];
  const limit = s.bytes_max > 0 ? `${f.bytes(s.bytes_total)} of at most ${f.bytes(s.bytes_max)}` : f.bytes(s.bytes_total);
  if (s.state !== "running") return [{ kind: "bad", about: "Storage", text: `${limit} used; ${sentence(s.state)}` }];
  const out: Finding[] = [];
  const days = s.days_left;
  const outlook = days === undefined ? "" : days > 3650 ? " At this rate it lasts for more than ten years." : ` At this rate it lasts for another ${f.plural(Math.round(days), "day", "days")}.`;
  const incomplete = comingBack(s.refill);
  if (incomplete) out.push({ kind: "wait", about: "Refill", text: incomplete });
  out.push({ kind: days !== undefined && days < 3 ? "wait" : "good", about: "Storage", text: `${limit} used, ${f.bytes(s.free_bytes)} free on the disk.${outlook}` });
  return out;
}

function unreadable(err: Error): HTMLElement {
  return h("p", { class: "panel empty" }, "This cannot be read at the moment: ", err.message);
}

/** The figures of the accounting, in the order in which responses pass through the parts. */
function flow(a: Accounting): HTMLElement {
  const step = (name: string, value: number, note: string, kind = ""): HTMLElement =>
    h("div", { class: "tile " + kind }, h("dt", {}, name), h("dd", {}, f.count(value), h("small", {}, note)));
  return h("dl", { class: "tiles flow" },
    step("Responses", a.responses, "sent to clients"), step("Recorded", a.recorded, "written to the spool"),
    step("Excluded", a.excluded, "by record.exclude"),
    step("Dropped", a.dropped_total, a.dropped_total > 0 ? reasons(a.dropped) : "none", a.dropped_total > 0 ? "has-errors" : ""),
    step("In the spool", a.spooled, "not yet counted"), step("Applied", a.applied, "in the statistics"),
    step("Archived", a.archived, "read back and verified"), step("Deleted", a.deleted, "locally, after archiving"));
}

const identities = (a: Accounting): HTMLElement[] =>
  a.identities.map((i) => h("li", { class: i.holds ? "" : "bad" }, `${i.name}: ${i.holds ? "yes" : "no"}`));

const partNames: Record<string, string> = {
  spool: "Spool: not yet counted", store: "Store: events and statistics", archive: "Archive: on this disk", quarantine: "Quarantine: damaged files", other: "Other: reserve for a full disk",
};

function storagePanel(s: Storage): HTMLElement {
  const parts = Object.entries(s.bytes).filter(([name]) => !name.startsWith("store_")).sort((a, b) => b[1] - a[1]);
  const most = Math.max(...parts.map(([, n]) => n), 1);
  return h("div", { class: "panel pad" }, h("ul", { class: "statuses parts" }, ...parts.map(([name, n]) => {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = (100 * n) / most + "%";
    return h("li", {}, h("span", { class: "status-name" }, partNames[name] ?? name), h("span", { class: "track" }, bar), h("span", { class: "num" }, f.bytes(n)));
  })), h("p", { class: "muted" }, s.growth_bytes_per_day > 0 ? `Grows by ${f.bytes(s.growth_bytes_per_day)} a day.` : "No growth measured yet.",
    s.bytes_max > 0 ? ` Limit: ${f.bytes(s.bytes_max)} (data.bytes_max).` : "", s.free_min > 0 ? ` Pauses below ${f.bytes(s.free_min)} of free disk (data.free_min).` : ""));
}

function archivePanel(a: Archives): HTMLElement {
  if (a.objects === 0) return h("p", { class: "panel empty" }, "Nothing is archived yet. Events are archived an hour after they were recorded (archive.after).");
  const rows = a.archives.map((o) => h("tr", {}, h("th", { scope: "row", class: "name" }, h("span", { class: "path" }, o.key)),
    h("td", {}, o.state), h("td", { class: "num" }, f.count(o.rows)), h("td", { class: "num" }, o.object_bytes > 0 ? f.bytes(o.object_bytes) : "–")));
  return h("div", {}, h("p", {}, `${f.plural(a.rows, "event", "events")} in ${f.plural(a.objects, "object", "objects")}, ${f.bytes(a.bytes)} compressed. The newest:`),
    h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Archive objects" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "name" }, "Object"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "num" }, "Events"), h("th", { scope: "col", class: "num" }, "Size"))),
      h("tbody", {}, ...rows))));
}
