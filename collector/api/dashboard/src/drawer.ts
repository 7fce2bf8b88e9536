// All fields of one event, beside the view. Its address is a permalink.

import { get, type RawEvent } from "./api";
import { h } from "./dom";
import * as f from "./format";
import { link, type State } from "./state";

const units: Record<string, (n: number) => string> = {
  duration_us: f.micros, ttfb_us: f.micros, request_us: f.micros, wait_us: f.micros,
  http_request_body_size: f.bytes, http_response_body_size: f.bytes,
};

export class Drawer {
  private readonly body = h("div", { class: "drawer-body" });
  private readonly copied = h("span", { class: "muted", role: "status" });
  private readonly dialog: HTMLDialogElement;
  private shown = "";
  private event: RawEvent | null = null;
  private asking: AbortController | null = null;

  constructor(private readonly go: (change: Partial<State>) => void) {
    const copy = (what: () => string, said: string): void => {
      void navigator.clipboard?.writeText(what()).then(() => { this.copied.textContent = said; }, () => { this.copied.textContent = "The browser does not allow it."; });
    };
    this.dialog = h("dialog", {
      class: "drawer", "aria-labelledby": "drawer-heading",
      onclose: () => { if (this.shown !== "") this.go({ event: "" }); },
      onclick: (e) => { if (e.target === this.dialog) this.dialog.close(); },
    },
      h("div", { class: "drawer-head" }, h("h2", { id: "drawer-heading" }, "Request"),
        h("button", { type: "button", onclick: () => copy(() => location.href, "Link copied.") }, "Copy link"),
        h("button", { type: "button", onclick: () => copy(() => JSON.stringify(this.event, null, 2), "JSON copied.") }, "Copy JSON"),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.dialog.close() }, "✕")),
      this.copied, this.body);
    document.body.append(this.dialog);
  }

  /** Shows the event of the address, or closes. */
  show(s: State): void {
    if (s.event === this.shown) return;
    this.shown = s.event;
    this.asking?.abort();
    if (s.event === "") {
      this.dialog.close();
      return;
    }
    this.copied.textContent = "";
    this.event = null;
    this.body.replaceChildren(h("p", { class: "muted" }, "Loading…"));
    if (!this.dialog.open) this.dialog.showModal();
    void this.load(s);
  }

  private async load(s: State): Promise<void> {
    const mine = this.asking = new AbortController();
    try {
      this.event = await get<RawEvent>(`/api/v1/events/${encodeURIComponent(s.event)}`, {}, mine.signal);
      this.body.replaceChildren(this.fields(s, this.event));
    } catch (err) {
      if (!mine.signal.aborted) this.body.replaceChildren(h("p", { class: "notice bad" }, `${(err as Error).message}.`));
    }
  }

  private fields(s: State, e: RawEvent): HTMLElement {
    const rows = Object.entries(e).map(([name, value]) => {
      const format = units[name];
      const shown = format && typeof value === "number" ? format(value) : name === "ts" && f.zone() !== "UTC" ? `${f.moment(new Date(e.ts))}, ${f.zone()}` : "";
      const extra = shown ? h("span", { class: "muted" }, ` (${shown})`) : null;
      return [h("dt", {}, name), h("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value), extra)];
    });
    const label = e.url_template;
    return h("div", {},
      label ? h("p", {}, h("a", { href: link({ ...s, view: "path", path: label, method: e.http_request_method ?? "", host: e.server_address ?? "", route: e.route ?? "", event: "", status: "", latency: "", first: "" }) }, "The path ", h("span", { class: "path" }, f.path(label)))) : null,
      h("dl", { class: "fields-of" }, ...rows.flat()));
  }
}
