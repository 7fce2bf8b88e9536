// The answers of the API, and the requests for them.

export interface Latency { p50: number; p90: number; p95: number; p99: number; max: number; mean: number; p999: number }
export interface Figures {
  count: number; rate: number; seconds: number; errors: number; // rate is count per covered second
  streams: number; error_types?: Record<string, number>; status: Record<string, number>;
  grpc?: Record<string, number>; // gRPC calls by status code; 17: codes that gRPC does not define
  dropped?: Record<string, number>; // only in totals over all paths: a dropped response has no path
  bytes_in: number; bytes_out: number; latency_us: Latency;
}
export interface Row extends Figures { host: string; method: string; path: string; route?: string; before?: Figures; spark?: number[] }
export interface Paths { from: string; to: string; rows: number; totals: Figures; before?: { totals: Figures }; paths: Row[] }
/** Latencies in logarithmic bins; see docs/API.md. */
export interface LatencyBins { zeros?: number; start: number; counts: number[] }
export interface Point extends Figures { time: string; latency_bins?: LatencyBins }
export interface Series { path: string; from: string; to: string; step: string; points: Point[]; totals: Figures; before?: { points: Point[]; totals: Figures } }
export interface Activity { count: number[]; errors: number[] }
export interface Recent {
  from: string; to: string; step_seconds: number; totals: Activity;
  paths: (Activity & { host: string; method: string; path: string; route?: string })[];
}
/** A path that fails now, or is slower than usual. */
export interface Incident {
  kind: "errors" | "slow"; host: string; method: string; path: string; route?: string;
  since: string; from: string; count: number; bad: number; share: number; usual_share: number; usual_count: number;
  p95_us?: number; usual_p95_us?: number; affected: number;
}
export interface Failing { checked_at: string; rows: number; incidents: Incident[]; total: number }
export interface RawEvent {
  event_id: string; ts: string; http_request_method?: string; url_path?: string; url_template?: string;
  http_response_status_code?: number; duration_us?: number; ttfb_us?: number; request_us?: number; wait_us?: number; http_request_body_size?: number;
  http_response_body_size?: number; server_address?: string; client_address?: string; error_type?: string; kind?: string;
  route?: string; rpc_grpc_status_code?: number; attempts?: number;
}
export interface Events { events: RawEvent[]; next_cursor?: string; complete: boolean }
export interface Accounting {
  responses: number; recorded: number; dropped: Record<string, number>; dropped_total: number; excluded: number;
  spooled: number; applied: number; aggregated: number; quarantined: number; archived: number; deleted: number;
  settled: boolean; balanced: boolean; identities: { name: string; holds: boolean }[]; books: string;
}
export interface Storage {
  measured_at: string; bytes: Record<string, number>; bytes_total: number; bytes_max: number; free_bytes: number;
  free_min: number; counts: Record<string, number>; state: string; growth_bytes_per_day: number; days_left?: number; refill?: Refill;
}
/** How far a store that began empty, because the previous one was damaged, is refilled from the archive. */
export interface Refill { due: boolean; waiting?: string; objects: number; objects_done: number; responses: number; problems: number }
export interface Archives {
  objects: number; rows: number; bytes: number; states: Record<string, number>;
  archives: { id: number; state: string; key: string; rows: number; object_bytes: number; hour: string }[];
}

export interface JobRun { started: string; duration_us: number; objects: number; rows: number; bytes: number; error?: string }
export interface Job {
  name: string; schedule: string; running: boolean; next?: string; failing: number; error?: string; runs: number; failures: number;
  recent?: JobRun[]; // the newest first
}
export interface Jobs { jobs: Job[] }

/** A server behind wayside; the times and the reason are missing if there are none. */
export interface Server {
  upstream: string; state: "up" | "down" | "ejected"; since: string | null; why?: string; failing?: string;
  in_flight: number; connections: number; idle_connections: number; responses: number; failures: number;
}
export interface Group { name: string; dns?: string; dns_error?: string; servers: Server[] }
export interface Groups { groups: Group[] }

/** A path that differs between two ranges. */
export interface PathChange extends Row { kind: "failing" | "slower" | "new" | "vanished"; before: Figures; affected: number }
export interface Changes { from: string; to: string; before: { from: string; to: string; totals: Figures }; total: number; changes: PathChange[] }

/** A moment with a name: a deploy, or a start, reload or stop of wayside. */
export interface Mark { time: string; kind: string; text: string }

/** The marks of a range; none if they cannot be read at the moment. */
export const marksOf = (from: Date, to: Date, signal: AbortSignal): Promise<Mark[]> =>
  get<{ marks: Mark[] }>("/api/v1/marks", { from: from.toISOString(), to: to.toISOString(), limit: 200 }, signal).then((m) => m.marks, (err: unknown) => {
    if (signal.aborted) throw err;
    return [];
  });

/** What fails now; null if that cannot be read at the moment. */
export const failingNow = (signal: AbortSignal): Promise<Failing | null> => get<Failing>("/api/v1/failing", {}, signal).catch((err: unknown) => {
  if (signal.aborted) throw err;
  return null;
});

/** An answer that was not 2xx, with the reason from wayside. */
export class Refused extends Error {
  constructor(readonly status: number, reason: string) { super(reason); }
}

const patience = 10; // seconds to wait for an answer

async function fetchFrom(url: string, signal: AbortSignal | undefined, accept: string): Promise<Response> {
  const limit = AbortSignal.timeout(patience * 1000);
  try {
    return await fetch(url, { headers: { Accept: accept }, cache: "no-cache", signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (err) {
    if (signal?.aborted) throw err;
    throw new Error(limit.aborted ? `wayside has not responded for ${patience} seconds` : "wayside cannot be reached from this page");
  }
}

export async function get<T>(path: string, query: Record<string, string | number | undefined> = {}, signal?: AbortSignal): Promise<T> {
  const pairs = Object.entries(query).filter(([, v]) => v !== undefined && v !== "");
  const search = new URLSearchParams(pairs.map(([k, v]) => [k, String(v)])).toString();
  const response = await fetchFrom(search ? `${path}?${search}` : path, signal, "application/json");
  const body = await response.json().catch((err: unknown) => {
    if (!response.ok) return {};
    if (signal?.aborted) throw err;
    throw new Error("the response from wayside was cut off");
  }) as { error?: string };
  if (!response.ok) throw new Refused(response.status, body.error ?? `wayside responded with ${response.status}`);
  return body as T;
}

/** A table of the API as comma-separated values. */
export async function csv(path: string, query: Record<string, string | number>): Promise<string> {
  const search = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== "").map(([k, v]) => [k, String(v)])).toString();
  const response = await fetchFrom(`${path}?${search}`, undefined, "text/csv");
  if (!response.ok) throw new Refused(response.status, `wayside answered ${response.status}`);
  return response.text();
}

export interface Check { ok: boolean; name: string; detail: string }

/** The checks of /readyz?verbose, one a line: "[+] name: detail". */
export async function checks(signal?: AbortSignal): Promise<Check[]> {
  const response = await fetchFrom("/readyz?verbose", signal, "text/plain");
  const lines = (await response.text()).split("\n");
  return lines.flatMap((line) => {
    const match = /^\[([+!])\] ([^:]+): (.*)$/.exec(line);
    return match ? [{ ok: match[1] === "+", name: match[2]!, detail: match[3]! }] : [];
  });
}
