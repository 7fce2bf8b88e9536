// Parts that several views share.

import { h, say } from "./dom";
import * as f from "./format";
import type { Figures, Refill } from "./api";
import { link, type State } from "./state";

/**
 * A message above a view: why it shows nothing, or old figures. One that may come at any time is over the view, at the end of the screen, so
 * that it moves nothing; but above the view if nothing has been shown yet.
 */
export class Notice {
  constructor(private readonly over = false) {}
  readonly element = h("p", { class: "notice", hidden: true });
  show(kind: "bad" | "wait" | "good" | "", text: string): void {
    this.element.className = "notice " + kind + (this.over ? " over" : "");
    this.element.hidden = text === "";
    say(this.element, text);
  }
  clear(): void { this.show("", ""); }
}

function delta(now: number, before: number | undefined, moreIsBad: boolean | null): HTMLElement | null {
  if (before === undefined) return null;
  const { text, sign } = f.change(now, before);
  const kind = sign === 0 || before === 0 || moreIsBad === null ? "" : (sign > 0) === moreIsBad ? "bad" : "good";
  return h("span", { class: "delta " + kind }, text);
}

/** Dropped responses by reason. */
export const reasons = (dropped: Record<string, number>): string => Object.entries(dropped).map(([reason, n]) => `${reason} ${f.count(n)}`).join(", ");

/** Says that a refill is under way, so that figures are incomplete; "" if they are complete. */
export const comingBack = (r?: Refill): string => !r?.due ? "" : "Older hours are still coming back from the archive: " +
  (r.waiting ? `${r.waiting}.` : `${f.count(r.objects_done)} of ${f.plural(r.objects, "object", "objects")} read, the newest first.`) + " Until then their figures are too low.";

/** The figures at the top of a view; with before, also how they have changed. alarm: errors are worth a look now. */
export function tiles(now: Figures, before?: Figures, alarm = false): HTMLElement {
  const one = (name: string, value: string, change: HTMLElement | null, kind = ""): HTMLElement =>
    h("div", { class: "tile " + kind }, h("dt", {}, name), h("dd", {}, value, change));
  const l = now.latency_us, was = before?.latency_us;
  const dropped = Object.values(now.dropped ?? {}).reduce((sum, n) => sum + n, 0);
  return h("dl", { class: "tiles" },
    one("Requests", f.short(now.count), delta(now.count, before?.count, null)),
    one("Rate", f.rate(now.rate), delta(now.rate, before?.rate, null)),
    one("Errors", f.share(now.errors, now.count), before ? h("span", { class: "delta" }, `before ${f.share(before.errors, before.count)}`) : null, alarm ? "has-errors" : ""),
    one("p50", f.latency(now, l.p50), delta(l.p50, was?.p50, true)),
    one("p95", f.latency(now, l.p95), delta(l.p95, was?.p95, true)),
    one("p99", f.latency(now, l.p99), delta(l.p99, was?.p99, true)),
    one("Slowest", f.latency(now, l.max), null),
    one("Sent", f.bytes(now.bytes_out), delta(now.bytes_out, before?.bytes_out, null)),
    dropped > 0 && now.dropped ? h("div", { class: "tile missing has-errors" }, h("dt", {}, "Not recorded"),
      h("dd", {}, f.plural(dropped, "response", "responses"), h("small", {}, `${reasons(now.dropped)}. They were served, and are in none of these figures.`))) : null);
}

export function emptyTiles(): HTMLElement {
  return h("dl", { class: "tiles waiting" }, ...["Requests", "Rate", "Errors", "p50", "p95", "p99", "Slowest", "Sent"].map((name) =>
    h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, "–"))));
}

export const methodBadge = (method: string): HTMLElement => h("span", { class: "method" }, method);

const kindOf = (code: number): string => (code >= 500 || code === 0 ? "bad" : code >= 400 ? "wait" : code >= 300 ? "" : "good");
export const statusBadge = (code: number): HTMLElement => h("span", { class: "status " + kindOf(code) }, code === 0 ? "?" : code);

const names: Record<string, string> = {
  200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found",
  303: "See Other", 304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
  403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
  413: "Content Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Content", 429: "Too Many Requests", 431: "Header Too Large",
  499: "Client Left", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
};

/** Every status with its number and share, the most frequent first. */
export function statusList(status: Record<string, number>): HTMLElement {
  const all = Object.values(status).reduce((a, b) => a + b, 0);
  const rows = Object.entries(status).sort((a, b) => b[1] - a[1] || Number(a[0]) - Number(b[0]));
  return h("ul", { class: "statuses" }, ...rows.map(([code, n]) => {
    const bar = h("span", { class: "bar " + kindOf(Number(code)), "aria-hidden": "true" });
    bar.style.width = Math.max((100 * n) / Math.max(all, 1), 0.5) + "%";
    return h("li", {}, h("span", { class: "status-name" }, statusBadge(Number(code)), names[code] ?? ""),
      h("span", { class: "track" }, bar), h("span", { class: "num" }, f.count(n)), h("span", { class: "num muted" }, f.share(n, all)));
  }));
}

const grpcNames = [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
];
const grpcFailed = (code: number): boolean => [2, 4, 12, 13, 14, 15, 17].includes(code); // errors of the server, as the books count them
export const grpcName = (code: number): string => grpcNames[code] ?? "(other)";
export const grpcBadge = (code: number): HTMLElement => h("span", { class: "status " + (grpcFailed(code) ? "bad" : code === 0 ? "good" : "wait") }, grpcName(code));

/** Every gRPC status with its number and share, the most frequent first. */
export function grpcList(grpc: Record<string, number>): HTMLElement {
  const all = Object.values(grpc).reduce((a, b) => a + b, 0);
  const rows = Object.entries(grpc).sort((a, b) => b[1] - a[1] || Number(a[0]) - Number(b[0]));
  return h("ul", { class: "kinds panel pad" }, ...rows.map(([code, n]) =>
    h("li", {}, grpcBadge(Number(code)), " ", f.count(n), " ", h("span", { class: "muted" }, f.share(n, all)))));
}

export function pathLink(s: State, row: { path: string; method: string; host: string; route?: string }): string {
  return link({ ...s, view: "path", path: row.path, method: row.method, host: row.host, route: row.route ?? "", search: "", status: "", latency: "" });
}
