// The state of the view. It is in the address after the "#", so that links have it.

export type View = "paths" | "path" | "changes" | "events" | "books";

export interface State {
  view: View;
  range: string; // "1h", "24h", "7d", … or "custom"
  from: string; // with custom: RFC 3339
  to: string;
  compare: boolean;
  sort: string;
  up: boolean; // ascending
  search: string;
  path: string;
  method: string;
  host: string;
  route: string;
  status: string;
  latency: string;
  first: string; // "failed": failed events are listed before all others
  against: string; // with what changes are compared: yesterday, week, or the time of a mark
  event: string; // the event that is shown
}

export const ranges = [
  { id: "1h", name: "1 h", hours: 1 }, { id: "6h", name: "6 h", hours: 6 }, { id: "24h", name: "24 h", hours: 24 },
  { id: "7d", name: "7 d", hours: 168 }, { id: "30d", name: "30 d", hours: 720 }, { id: "90d", name: "90 d", hours: 2160 },
  { id: "365d", name: "1 y", hours: 8760 },
];

const defaults: State = {
  view: "paths", range: "24h", from: "", to: "", compare: false, sort: "count", up: false, search: "",
  path: "", method: "", host: "", route: "", status: "", latency: "", first: "", event: "", against: "yesterday",
};

export function read(hash: string): State {
  const [place = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const q = new URLSearchParams(query);
  const s: State = { ...defaults };
  if (place === "path" || place === "changes" || place === "events" || place === "books") s.view = place;
  for (const key of ["range", "from", "to", "sort", "search", "path", "method", "host", "route", "status", "latency", "first", "event", "against"] as const) {
    const value = q.get(key);
    if (value !== null) s[key] = value;
  }
  // The API knows paths, "*" (OPTIONS *) and names in parentheses such as "(other)". A user who types "orders" means "/orders".
  if (s.path !== "" && !/^(\/|\*$|\(.*\)$)/.test(s.path)) s.path = "/" + s.path;
  s.compare = q.has("compare");
  s.up = q.has("up");
  if (s.range !== "custom" && !ranges.some((r) => r.id === s.range)) s.range = defaults.range;
  if (s.range === "custom" && !(Date.parse(s.from) < Date.parse(s.to))) s.range = defaults.range;
  return s;
}

export function link(s: State): string {
  const q = new URLSearchParams();
  for (const key of ["range", "from", "to", "sort", "search", "path", "method", "host", "route", "status", "latency", "first", "event", "against"] as const) {
    if (s[key] !== defaults[key]) q.set(key, s[key]);
  }
  if (s.compare) q.set("compare", "1");
  if (s.up) q.set("up", "1");
  const query = q.toString();
  return "#/" + (s.view === "paths" ? "" : s.view) + (query ? "?" + query : "");
}

export interface Span { from: Date; to: Date; hours: number }

/** The selected range, widened to whole minutes, up to the current one. The answer says if it was widened to hours. */
export function span(s: State, now: Date = new Date()): Span {
  const minute = 60_000, hour = 60 * minute;
  const from = s.range === "custom" ? Date.parse(s.from) : now.getTime() - ranges.find((r) => r.id === s.range)!.hours * hour;
  const to = s.range === "custom" ? Date.parse(s.to) : now.getTime();
  const begin = Math.floor(from / minute) * minute, end = Math.ceil(to / minute) * minute;
  return { from: new Date(begin), to: new Date(end), hours: Math.max(1, Math.round((end - begin) / hour)) };
}

/** A step that gives at most about 180 points, of minutes for a few hours. */
export function step(hours: number): string {
  if (hours <= 6) return hours <= 2 ? "1m" : "5m";
  for (const candidate of [1, 2, 3, 6, 12, 24, 48, 168]) if (hours / candidate <= 180) return candidate + "h";
  return "720h";
}

/** The change of state that shows a range of a chart; times in seconds. */
export function zoomed(from: number, to: number): Partial<State> {
  const minute = 60, begin = Math.floor(from / minute) * minute, end = Math.max(Math.ceil(to / minute) * minute, begin + minute);
  return { range: "custom", from: new Date(begin * 1000).toISOString(), to: new Date(end * 1000).toISOString() };
}

/** The change of state that lists the events of a step, the failed ones first. */
export const eventsOf = (from: number, to: number): Partial<State> =>
  ({ view: "events", range: "custom", from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), compare: false, status: "", latency: "", first: "failed" });
