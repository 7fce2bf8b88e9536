// The scheduled jobs: what they do, the result of the last run, and the time of the next.

import type { Job, Jobs } from "./api";
import type { Finding } from "./books-view";
import { h } from "./dom";
import * as f from "./format";

const purposes: Record<string, string> = {
  archive: "Writes events to the archive and reads them back", clean: "Deletes local events that are archived and old enough",
  report: "Measures the data directory and how long it will last", prune: "Removes records that are no longer needed",
};

export function ofJobs(jobs: Jobs | Error): Finding[] {
  if (jobs instanceof Error) return []; // the books process does not answer; another finding says so
  const failing = jobs.jobs.filter((j) => j.failing > 0);
  if (failing.length === 0) return [{ kind: "good", about: "Jobs", text: "No job is failing." }];
  return failing.map((j) => ({ kind: "wait", about: "Jobs", text: `The ${j.name} job failed ${f.plural(j.failing, "time", "times")} in a row: ${j.error || "the log says why"}.` }));
}

export function jobsPanel(jobs: Jobs): HTMLElement {
  const head = ["Job", "Last run", "Result", "Next run", "Schedule"];
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Scheduled jobs" }, h("table", { class: "jobs" },
    h("thead", {}, h("tr", {}, ...head.map((text, i) => h("th", { scope: "col", class: i === 0 ? "name" : i === head.length - 1 ? "wide" : "" }, text)))),
    h("tbody", {}, ...jobs.jobs.map(row))));
}

function row(j: Job): HTMLElement {
  const last = j.recent?.[0];
  return h("tr", {}, h("th", { scope: "row", class: "name" }, h("strong", {}, j.name), h("small", {}, purposes[j.name] ?? "")),
    h("td", {}, j.running ? "running now" : last ? when(last.started) : "not yet"),
    h("td", { class: last?.error ? "bad" : "" }, result(j)),
    h("td", {}, j.next ? when(j.next) : "–"), h("td", { class: "wide" }, h("code", {}, j.schedule)));
}

function result(j: Job): string {
  const last = j.recent?.[0];
  if (!last) return "–";
  if (last.error) return "Failed: " + last.error;
  const took = f.micros(last.duration_us);
  return last.objects > 0 || last.rows > 0 ? `${f.plural(last.rows, "event", "events")} in ${f.plural(last.objects, "object", "objects")}, took ${took}` : `Nothing to do, took ${took}`;
}

/** A time as people say it: 3 min ago, in 20 s. */
function when(text: string): string {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds < 0 ? f.age(-seconds) + " ago" : "in " + f.age(seconds);
}
