// The dashboard: fetches /snapshot and /api/v1/accounting and shows them. Paths and hosts were sent by strangers, so
// everything is inserted as text (textContent), never as markup.
"use strict";

const SNAPSHOT_EVERY_MS = 2000;
const ACCOUNTS_EVERY_MS = 5000;

const byId = (id) => document.getElementById(id);
const wholeNumber = new Intl.NumberFormat("en");
const shortNumber = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const count = (n) => wholeNumber.format(n);
const share = (part, all) => (all > 0 ? shortNumber.format((100 * part) / all) + " %" : "–");

function rate(perSecond) {
  if (perSecond === 0) return "0 /s";
  if (perSecond >= 0.1) return shortNumber.format(perSecond) + " /s";
  if (perSecond * 60 >= 0.1) return shortNumber.format(perSecond * 60) + " /min";
  return shortNumber.format(perSecond * 3600) + " /h";
}

function duration(micros) {
  if (micros < 1000) return micros + " µs";
  if (micros < 1e6) return shortNumber.format(micros / 1e3) + " ms";
  return shortNumber.format(micros / 1e6) + " s";
}

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return shortNumber.format(n) + " " + units[i];
}

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function showFigures(list, pairs) {
  list.replaceChildren(
    ...pairs.map(([name, value]) => {
      const box = element("div");
      box.append(element("dt", name), element("dd", value));
      return box;
    }),
  );
}

// Columns of the table; value is what sorting goes by, show what is written.
const columns = [
  { key: "path", name: "Path", value: (r) => r.path },
  { key: "count", name: "Requests", value: (r) => r.count, show: (r) => count(r.count) },
  { key: "share", name: "Share", wide: true, value: (r) => r.count },
  { key: "rate", name: "Rate", wide: true, value: (r) => r.rate, show: (r) => rate(r.rate) },
  { key: "errors", name: "Errors", value: (r) => r.errors, show: (r) => count(r.errors), bad: (r) => r.errors > 0 },
  { key: "p50", name: "p50", wide: true, value: (r) => r.latency_us.p50, show: (r) => duration(r.latency_us.p50) },
  { key: "p95", name: "p95", value: (r) => r.latency_us.p95, show: (r) => duration(r.latency_us.p95) },
  { key: "p99", name: "p99", wide: true, value: (r) => r.latency_us.p99, show: (r) => duration(r.latency_us.p99) },
  { key: "max", name: "max", wide: true, value: (r) => r.latency_us.max, show: (r) => duration(r.latency_us.max) },
  { key: "out", name: "Sent", wide: true, value: (r) => r.bytes_out, show: (r) => bytes(r.bytes_out) },
];
const order = { key: "count", down: true };
let latest = null;

function showHeadings() {
  byId("columns").replaceChildren(
    ...columns.map((c) => {
      const th = element("th", undefined, (c.key === "path" ? "name" : "") + (c.wide ? " wide" : ""));
      th.scope = "col";
      th.dataset.key = c.key;
      const button = element("button", c.name);
      button.type = "button";
      button.addEventListener("click", () => {
        order.down = order.key === c.key ? !order.down : c.key !== "path";
        order.key = c.key;
        showTable();
      });
      th.append(button);
      return th;
    }),
  );
}

function compare(a, b) {
  const column = columns.find((c) => c.key === order.key);
  const x = column.value(a);
  const y = column.value(b);
  const sign = order.down ? -1 : 1;
  return x < y ? -sign : x > y ? sign : a.path < b.path ? -1 : 1;
}

function tableRow(r, total) {
  const tr = element("tr");
  for (const c of columns) {
    const wide = c.wide ? "wide" : "";
    if (c.key === "path") {
      const th = element("th", r.path);
      th.scope = "row";
      th.append(element("small", r.method + " " + r.host));
      tr.append(th);
    } else if (c.key === "share") {
      const td = element("td", undefined, wide);
      const meter = element("meter");
      meter.max = Math.max(total, 1);
      meter.value = r.count;
      meter.setAttribute("aria-hidden", "true");
      td.append(meter, share(r.count, total));
      tr.append(td);
    } else {
      tr.append(element("td", c.show(r), c.bad && c.bad(r) ? "bad " + wide : wide));
    }
  }
  return tr;
}

function showTable() {
  for (const th of byId("columns").children) {
    if (th.dataset.key === order.key) th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else th.removeAttribute("aria-sort");
  }
  if (!latest) return;
  const wanted = byId("filter").value.trim().toLowerCase();
  const rows = latest.paths
    .filter((r) => r.count > 0)
    .filter((r) => (r.method + " " + r.host + " " + r.path).toLowerCase().includes(wanted))
    .sort(compare);
  byId("rows").replaceChildren(...rows.map((r) => tableRow(r, latest.totals.count)));
  const empty = byId("empty");
  empty.hidden = rows.length > 0;
  empty.textContent = latest.totals.count === 0
    ? "No requests yet. They appear here about a second after the first response."
    : "No path matches the filter.";
}

function showSnapshot(s) {
  latest = s;
  const t = s.totals;
  byId("window").textContent = "over the last " + s.window;
  showFigures(byId("totals"), [
    ["Requests", count(t.count)],
    ["Rate", rate(t.rate)],
    ["Errors", count(t.errors) + " (" + share(t.errors, t.count) + ")"],
    ["p50", duration(t.latency_us.p50)],
    ["p95", duration(t.latency_us.p95)],
    ["p99", duration(t.latency_us.p99)],
    ["Received", bytes(t.bytes_in)],
    ["Sent", bytes(t.bytes_out)],
  ]);
  showTable();
}

function verdict(a) {
  if (!a.balanced && a.spooled === 0 && !verdict.moving(a)) {
    return ["bad", "The books do not add up: see below which figures disagree. The log of the collector says more."];
  }
  if (!a.balanced) return ["wait", "Requests are being recorded while the figures are read; they settle when it is quiet."];
  const parts = [];
  if (a.dropped_total > 0) parts.push(count(a.dropped_total) + " responses could not be recorded and are counted as dropped");
  if (a.quarantined > 0) parts.push(count(a.quarantined) + " were set aside because they could not be read");
  const tail = parts.length > 0 ? " " + parts.join("; ") + "." : "";
  if (a.spooled > 0) return ["wait", "The books add up; " + count(a.spooled) + " responses wait in the spool to be counted." + tail];
  return [parts.length > 0 ? "wait" : "good", "The books add up: every response is accounted for." + tail];
}
verdict.last = -1;
verdict.moving = (a) => {
  const moved = verdict.last !== a.responses;
  verdict.last = a.responses;
  return moved;
};

function showAccounts(a) {
  const [kind, text] = verdict(a);
  byId("verdict").className = "notice " + kind;
  byId("verdict").textContent = text;
  const dropped = Object.entries(a.dropped).map(([reason, n]) => reason + " " + count(n));
  showFigures(byId("accounts"), [
    ["Responses", count(a.responses)],
    ["Recorded", count(a.recorded)],
    ["Dropped", count(a.dropped_total) + (dropped.length > 0 ? " (" + dropped.join(", ") + ")" : "")],
    ["Excluded", count(a.excluded)],
    ["In the spool", count(a.spooled)],
    ["Applied", count(a.applied)],
    ["Quarantined", count(a.quarantined)],
    ["Archived", count(a.archived)],
  ]);
  byId("identities").replaceChildren(
    ...a.identities.map((i) => element("li", i.name + (i.holds ? ": yes" : ": NO"), i.holds ? "" : "bad")),
  );
}

async function get(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-cache" });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || "the server answered " + response.status);
  return body;
}

// every calls work now and then again and again, pausing while the page is not looked at.
function every(milliseconds, work) {
  const turn = async () => {
    if (!document.hidden) await work();
    setTimeout(turn, milliseconds);
  };
  turn();
}

showHeadings();
showTable();
byId("filter").addEventListener("input", showTable);
every(SNAPSHOT_EVERY_MS, async () => {
  try {
    const s = await get("/snapshot");
    if (!latest || latest.version !== s.version) showSnapshot(s);
    byId("status").textContent = "Figures of " + new Date(s.generated_at).toLocaleTimeString();
  } catch (err) {
    byId("status").textContent = "No fresh figures: " + err.message;
  }
});
every(ACCOUNTS_EVERY_MS, async () => {
  try {
    showAccounts(await get("/api/v1/accounting"));
  } catch (err) {
    byId("verdict").className = "notice bad";
    byId("verdict").textContent = "The accounts cannot be read: " + err.message;
  }
});
