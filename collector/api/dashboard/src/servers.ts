// The servers behind wayside: their state, since when and why, and how much they are used.

import { Refused, type Group, type Groups, type Server } from "./api";
import type { Finding } from "./books-view";
import { h } from "./dom";
import * as f from "./format";

export function ofServers(groups: Groups | Error): Finding[] {
  if (groups instanceof Error || groups.groups.every((g) => g.servers.length === 0)) return [];
  const all = groups.groups.flatMap((g) => g.servers);
  const out = all.filter((s) => s.state !== "up");
  const names = groups.groups.filter((g) => g.dns_error).map((g): Finding => ({ kind: "wait", about: "Servers", text: `The name ${g.dns} cannot be looked up: ${g.dns_error}.` }));
  if (out.length > 0) return [{ kind: out.length === all.length ? "bad" : "wait", about: "Servers", text: `${out.length} of ${f.plural(all.length, "server", "servers")} ${out.length === 1 ? "is" : "are"} not in use.` }, ...names];
  return names.length > 0 ? names : [{ kind: "good", about: "Servers", text: all.length === 1 ? "The server behind wayside is in use." : `All ${all.length} servers behind wayside are in use.` }];
}

/** The panel; null if there are no servers, because an archive is served. */
export function serversPanel(groups: Groups | Error): HTMLElement | null {
  if (groups instanceof Refused && groups.status === 404) return null;
  if (groups instanceof Error) return h("p", { class: "panel empty" }, "This cannot be read at the moment: ", groups.message);
  const head: [string, string][] = [["Server", "name"], ["State", ""], ["In progress", "wide"], ["Responses", ""], ["Failures", "wide"], ["Connections", "wide"]];
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": "Servers" }, h("table", { class: "jobs" },
    h("thead", {}, h("tr", {}, ...head.map(([text, kind]) => h("th", { scope: "col", class: kind }, text)))),
    h("tbody", {}, ...groups.groups.flatMap((g) => g.servers.map((s) => row(g, s))))));
}

function row(g: Group, s: Server): HTMLElement {
  return h("tr", {}, h("th", { scope: "row", class: "name" }, h("strong", {}, s.upstream), h("small", {}, g.dns ? `${g.name}, an address of ${g.dns}` : g.name)),
    h("td", { class: s.state === "up" ? "" : "bad" }, state(s)),
    h("td", { class: "wide" }, f.count(s.in_flight)), h("td", {}, f.count(s.responses)), h("td", { class: "wide" }, f.count(s.failures)),
    h("td", { class: "wide" }, `${f.count(s.connections)}, ${f.count(s.idle_connections)} of them idle`));
}

function state(s: Server): string {
  const since = s.since ? ` for ${f.age((Date.now() - new Date(s.since).getTime()) / 1000)}` : "";
  const failing = s.state === "up" && s.failing ? `; failing: ${s.failing}` : "";
  return s.state + since + (s.why ? `: ${s.why}` : "") + failing;
}
