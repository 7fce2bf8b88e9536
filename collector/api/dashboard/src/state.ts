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
  utc: boolean; // times are shown in UTC, instead of the browser's time zone
}

export const ranges = [
  { id: "1h", name: "1 h", hours: 1 }, { id: "6h", name: "6 h", hours: 6 }, { id: "24h", name: "24 h", hours: 24 },
  { id: "7d", name: "7 d", hours: 168 }, { id: "30d", name: "30 d", hours: 720 }, { id: "90d", name: "90 d", hours: 2160 },
  { id: "365d", name: "1 y", hours: 8760 },
];

const defaults: State = {
  view: "paths", range: "24h", from: "", to: "", compare: false, sort: "count", up: false, search: "",
  path: "", method: "", host: "", route: "", status: "", latency: "", first: "", event: "", against: "yesterday", utc: false,
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
  s.utc = q.get("tz") === "utc";
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
  if (s.utc) q.set("tz", "utc");
  const query = q.toString();
  return "#/" + (s.view === "paths" ? "" : s.view) + (query ? "?" + query : "");
}

/** A range of time. period has the parameters for queries of statistics. */
export interface Span { from: Date; to: Date; hours: number; period: { from: string; to?: string } }

const minute = 60_000, hour = 60 * minute;
const minutesKept = 48; // hours for which there are statistics by the minute; before that, by the hour

/** The selected range. One with a name, such as 1h, is exactly as long as its name says: the current minute or hour is its last one. */
export function span(s: State, now: Date = new Date()): Span {
  const named = ranges.find((r) => r.id === s.range);
  if (!named) {
    const begin = Math.floor(Date.parse(s.from) / minute) * minute, end = Math.ceil(Date.parse(s.to) / minute) * minute;
    const from = new Date(begin), to = new Date(end);
    return { from, to, hours: Math.max(1, Math.round((end - begin) / hour)), period: { from: from.toISOString(), to: to.toISOString() } };
  }
  const unit = named.hours > minutesKept ? hour : minute, steps = (named.hours * hour) / unit;
  const end = Math.ceil(now.getTime() / unit) * unit;
  // wayside widens a range to whole steps, by its own clock. A comparison has only steps that are over.
  const period = { from: `-${s.compare ? steps : steps - 1}${unit === hour ? "h" : "m"}` };
  return { from: new Date(end - steps * unit), to: new Date(end), hours: named.hours, period };
}

/** A step that gives at most about 180 points, of minutes for a few hours. */
export function step(hours: number): string {
  if (hours <= 6) return hours <= 2 ? "1m" : "5m";
  for (const candidate of [1, 2, 3, 6, 12, 24, 48, 168]) if (hours / candidate <= 180) return candidate + "h";
  return "720h";
}

/** The change of state that shows a range of a chart; times in seconds. */
export function zoomed(from: number, to: number): Partial<State> {
  const begin = Math.floor((from * 1000) / minute) * minute, end = Math.max(Math.ceil((to * 1000) / minute) * minute, begin + minute);
  return { range: "custom", from: new Date(begin).toISOString(), to: new Date(end).toISOString() };
}

/** The change of state that lists the events of a step, the failed ones first. */
export const eventsOf = (from: number, to: number): Partial<State> =>
  ({ view: "events", range: "custom", from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString(), compare: false, status: "", latency: "", first: "failed" });
