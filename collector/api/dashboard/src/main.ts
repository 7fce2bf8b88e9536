// The dashboard: chooses the view, schedules updates, and shows the bar at the top.

import { get, type Storage } from "./api";
import { BooksView } from "./books-view";
import { ChangesView } from "./changes-view";
import { Drawer } from "./drawer";
import { append, byId, h, say, swap } from "./dom";
import { EventsView } from "./events-view";
import * as f from "./format";
import { PathView } from "./path-view";
import { comingBack, Notice } from "./parts";
import { PathsView } from "./paths-view";
import { link, ranges, read, span, type State, type View } from "./state";

interface Shown {
  element: HTMLElement;
  apply(s: State): void;
  reload(s: State, signal: AbortSignal, byItself?: boolean): Promise<void>;
  recolor(): void;
  fail(text: string): void;
  well(): void;
  stop?(): void;
}

const refreshSoon = 2_000; // ms between updates of views over at most a day
const refreshLate = 30_000; // … and over more
const refreshRefill = 30_000; // … and of the notice about a refill
const main = byId("main");
let state = read(location.hash);
let view: Shown | null = null;
let viewName: View | "" = "";
let asking: AbortController | null = null;
let lastAsked = 0;
let pending = 0;

function make(name: View): Shown {
  switch (name) {
    case "paths": return new PathsView(go);
    case "path": return new PathView(go);
    case "changes": return new ChangesView(go);
    case "events": return new EventsView(go);
    case "books": return new BooksView();
  }
}

/** Changes the address, which changes the view. Changes of search and order replace the entry in the history, so that "back" leaves the view. */
function go(change: Partial<State>): void {
  const next = link({ ...state, ...change });
  const minor = "event" in change && change.event === "" || Object.keys(change).every((key) => key === "search" || key === "sort" || key === "up" || key === "route" || key === "utc");
  if (minor) history.replaceState(null, "", next);
  else history.pushState(null, "", next);
  moved();
}

const incomplete = new Notice();
let refillAsked = 0;

/** Says above every view that figures are incomplete, while the store is refilled from the archive. */
async function showRefill(): Promise<void> {
  if (Date.now() - refillAsked < refreshRefill) return;
  refillAsked = Date.now();
  try {
    const text = comingBack((await get<Storage>("/api/v1/storage")).refill);
    if (text) incomplete.show("wait", text);
    else incomplete.clear();
  } catch { /* the view shows the error */ }
}

const drawer = new Drawer(go);
const asked = (s: State): string => JSON.stringify({ ...s, event: "", search: "", sort: "", up: false, ...(s.view === "paths" ? { route: "" } : {}) });

function moved(): void {
  const before = asked(state), zoneBefore = state.utc;
  state = read(location.hash);
  f.useUTC(state.utc);
  document.title = { paths: "Hot paths", path: `${state.method} ${f.path(state.path)}`.trim(), changes: "What has changed", events: "Events", books: "The books" }[state.view] + " – wayside";
  drawer.show(state);
  if (viewName !== state.view || zoneBefore !== state.utc) { // another time zone: everything is shown again
    view?.stop?.();
    view = make(state.view);
    main.replaceChildren(incomplete.element, toolbar, view.element);
    if (viewName !== state.view) window.scrollTo(0, 0);
    viewName = state.view;
    showNavigation();
    showToolbar();
    view.apply(state);
    void reload();
    return;
  }
  showNavigation();
  showToolbar();
  view?.apply(state);
  if (before !== asked(state)) void reload();
}

async function reload(byItself = false): Promise<void> {
  if (byItself && asking) return; // the last request is still running
  asking?.abort();
  const mine = asking = new AbortController();
  lastAsked = Date.now();
  const shown = view!;
  void showRefill();
  try {
    await shown.reload(state, mine.signal, byItself);
    if (!mine.signal.aborted) {
      shown.well();
      showRange();
      answered(true);
    }
  } catch (err) {
    if (!mine.signal.aborted) {
      answered(false);
      const known = goodAt === 0 ? "Nothing can be shown yet" : `The figures are of ${f.timeOfDay(new Date(goodAt))}`;
      const message = (err as Error).message;
      shown.fail(`${message.charAt(0).toUpperCase()}${message.slice(1)}. ${known}; trying again.`);
    }
  } finally {
    if (asking === mine) asking = null;
  }
  if (awaySince !== 0) soon();
}

// ---- the bar at the top

function showNavigation(): void {
  const views: [View, string][] = [["paths", "Paths"], ["changes", "Changes"], ["events", "Events"], ["books", "Books"]];
  const current = state.view === "path" ? "paths" : state.view;
  const keep: State = { ...state, first: "", event: "", path: "", method: "", host: "", route: "", search: "", status: "", latency: "" };
  swap(byId("nav"), ...views.map(([name, text]) =>
    h("a", { href: link({ ...keep, view: name }), "aria-current": current === name ? "page" : undefined }, text)));
  byId("brand").setAttribute("href", link({ ...read(""), utc: state.utc }));
  const zone = byId("zone");
  zone.textContent = state.utc ? "Time: UTC" : "Time: local";
  zone.title = state.utc ? "Times are in UTC; press for the time zone of this browser" : `Times are in ${f.zone()}; press for UTC`;
}
byId("zone").addEventListener("click", () => go({ utc: !state.utc }));

const fromField = h("input", { type: "datetime-local", step: 60 });
const toField = h("input", { type: "datetime-local", step: 60 });
const custom = h("form", {
  class: "custom", hidden: true,
  onsubmit: (e) => {
    e.preventDefault();
    const from = f.fromField(fromField.value), to = f.fromField(toField.value);
    toField.setCustomValidity(from < to ? "" : "The end must be after the beginning.");
    if (toField.reportValidity()) go({ range: "custom", from: from.toISOString(), to: to.toISOString() });
  },
}, h("label", {}, "From ", fromField), h("label", {}, "to ", toField), h("button", { type: "submit", class: "primary" }, "Show"));
const rangeButtons = h("div", { class: "segments", role: "group", "aria-label": "Time range" });
const rangeButton = (id: string, name: string, press: () => void): HTMLElement => h("button", { type: "button", "data-range": id, onclick: press }, name);
rangeButtons.append(...ranges.map((r) => rangeButton(r.id, r.name, () => {
  custom.hidden = true;
  go({ range: r.id, from: "", to: "" });
})), rangeButton("custom", "Custom", () => {
  custom.hidden = !custom.hidden;
  if (!custom.hidden) fromField.focus();
}));
const compareBox = h("input", { type: "checkbox", onchange: () => go({ compare: compareBox.checked }) });
const compareLabel = h("label", { class: "check" }, compareBox, "Compare with the period before");
const rangeText = h("span", { class: "muted" });
const toolbar = h("div", { class: "toolbar" }, rangeButtons, custom, compareLabel, rangeText);

function showToolbar(): void {
  toolbar.hidden = state.view === "books";
  compareLabel.hidden = state.view === "events" || state.view === "changes";
  for (const button of rangeButtons.querySelectorAll<HTMLElement>("button")) button.setAttribute("aria-pressed", String(state.range === button.dataset.range));
  if (state.range === "custom") custom.hidden = false;
  compareBox.checked = state.compare;
  const range = span(state);
  if (document.activeElement !== fromField) fromField.value = f.toField(range.from);
  if (document.activeElement !== toField) toField.value = f.toField(range.to);
  showRange();
}

/** Shows the range, which moves on with the time. */
function showRange(): void {
  const range = span(state);
  say(rangeText, `${f.moment(range.from)} – ${f.moment(range.to)}, ${f.zone()}`);
}

// ---- themes

type Theme = "auto" | "light" | "dark";
const themeButton = byId("theme");
const stored = (): Theme => {
  try {
    const value = localStorage.getItem("wayside-theme");
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto"; // storage may be forbidden
  }
};
let theme = stored();

function showTheme(): void {
  document.documentElement.dataset.theme = theme;
  themeButton.replaceChildren();
  append(themeButton, ["Theme: ", theme]);
  view?.recolor();
}
themeButton.addEventListener("click", () => {
  theme = theme === "auto" ? "light" : theme === "light" ? "dark" : "auto";
  try {
    localStorage.setItem("wayside-theme", theme);
  } catch { /* it holds for this page */ }
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view?.recolor());

// ---- live updates

const liveButton = byId("live");
const staleAfter = 60_000; // ms without an answer
let paused = false;
let connected = false;
let goodAt = 0; // when the last answer came
let awaySince = 0; // when the first of the present failures came; 0: wayside answers

/** Notes whether wayside has answered. */
function answered(well: boolean): void {
  if (well) {
    goodAt = Date.now();
    document.body.classList.add("has-figures");
  }
  awaySince = well ? 0 : awaySince || Date.now();
  showLive();
}

function showLive(): void {
  const stale = awaySince === 0 && goodAt !== 0 && Date.now() - goodAt > staleAfter;
  const since = (word: string, t: number): (Node | string)[] => [word, h("span", { class: "since" }, " since"), ` ${f.hourMinute(new Date(t))}`]; // a phone has no room for it
  const text = paused ? ["Paused"] : awaySince !== 0 ? since("Away", awaySince) : stale ? since("Stale", goodAt) : [connected ? "Live" : "Connecting"];
  liveButton.className = "live " + (paused ? "paused" : awaySince !== 0 ? "away" : connected && !stale ? "on" : "off");
  liveButton.setAttribute("aria-pressed", String(!paused));
  liveButton.title = paused ? "Updates are paused; press to continue" : "Live updates; press to pause";
  swap(byId("live-text"), ...text);
}
liveButton.addEventListener("click", () => {
  paused = !paused;
  showLive();
  if (!paused) void reload(true);
});

/** Schedules an update, the later the longer the range is. */
function soon(): void {
  if (paused || document.hidden || pending !== 0) return;
  const late = awaySince === 0 && state.view !== "books" && span(state).hours > 24;
  pending = window.setTimeout(() => {
    pending = 0;
    if (!paused && !document.hidden) void reload(true);
  }, Math.max(0, lastAsked + (late ? refreshLate : refreshSoon) - Date.now()));
}

// One tab of a browser has a stream of notices and passes them on to the others; hidden tabs have none.
const others = new BroadcastChannel("wayside");
let stream: EventSource | null = null;
let giveUp: (() => void) | null = null; // ends the stream, or the wait for it

function heard(what: string): void {
  connected = what !== "lost";
  showLive();
  if (what !== "open") soon();
}

others.onmessage = (m: MessageEvent<string>) => {
  if (m.data !== "hello") heard(m.data);
  else if (stream && connected) others.postMessage("open");
};

function tell(what: string): void {
  heard(what);
  others.postMessage(what);
}

function open(): void {
  const mine = stream = new EventSource("/api/v1/live");
  mine.onopen = () => tell("open");
  mine.onerror = () => {
    tell("lost");
    if (mine.readyState === EventSource.CLOSED) window.setTimeout(() => { if (stream === mine) open(); }, 5_000);
  };
  mine.addEventListener("snapshot", () => tell("snapshot"));
}

function close(): void {
  stream?.close();
  stream = null;
}

/** Waits until no other tab has a stream, and opens one. Where the browser has no locks, each visible tab has its own. */
function listen(): void {
  if (giveUp || document.hidden) return;
  if (!("locks" in navigator)) {
    giveUp = close;
    open();
    return;
  }
  const waiting = new AbortController();
  let release: (() => void) | null = null;
  giveUp = () => {
    waiting.abort();
    close();
    release?.();
  };
  others.postMessage("hello");
  navigator.locks.request("wayside-live", { signal: waiting.signal }, () => new Promise<void>((done) => {
    release = done;
    open();
  })).catch(() => { /* given up while waiting */ });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    giveUp?.();
    giveUp = null;
    return;
  }
  listen();
  soon();
});
// Without traffic there are no snapshots, but the charts of the last half hour must still move.
window.setInterval(() => {
  soon();
  showLive();
}, 10_000);

// The part after the "#" is the state of the view, so the browser must not follow this link by itself.
byId("skip").addEventListener("click", (e) => {
  e.preventDefault();
  main.focus();
});
document.addEventListener("keydown", (e) => {
  const typing = e.target instanceof HTMLInputElement || e.target instanceof HTMLSelectElement || e.target instanceof HTMLTextAreaElement;
  if (e.key !== "/" || typing || e.ctrlKey || e.metaKey || e.altKey) return;
  const search = document.getElementById("search");
  if (search) {
    e.preventDefault();
    search.focus();
  }
});

window.addEventListener("hashchange", moved);
window.addEventListener("popstate", moved);
showTheme();
showLive();
moved();
listen();
