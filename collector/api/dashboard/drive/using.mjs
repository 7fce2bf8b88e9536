// What a user does with the pointer.
import { spawnSync } from "node:child_process";
import { complete, desktop, inspect, load, openPage, painted, still, until, updates, want } from "../browser.mjs";
import { ask, binary } from "./servers.mjs";
import { userPath } from "./views.mjs";

export async function using(browser, base) {
  const { page, trouble, close } = await openPage(browser, base);
  await load(page, base + "/", "table.paths tbody a");
  const total = () => page.textContent(".tile:first-child dd");
  const before = await total();
  await page.waitForFunction((old) => document.querySelector(".tile:first-child dd").textContent !== old, before);
  want("figures move by themselves", (await total()) !== before, before);
  want("a host that all rows share is not repeated", (await page.locator("table.paths tbody th small").allTextContents()).every((text) => text === ""));

  const order = (key) => page.getAttribute(`th:has(button[data-key=${key}])`, "aria-sort");
  await page.click("thead button[data-key=p95]");
  want("order by p95", (await order("p95")) === "descending");
  await page.keyboard.press("Enter");
  want("the other way round, by key", (await order("p95")) === "ascending");
  await page.click("#paths-heading");
  await page.keyboard.press("/");
  await page.keyboard.type("orders/{id}");
  want("search", (await page.locator("table.paths tbody tr").allTextContents()).every((t) => t.includes("orders/{id}")));
  await page.fill("#search", "nothing has this name");
  want("words where nothing matches", (await page.textContent("td.empty")).includes("No path matches"));
  await page.fill("#search", "/users/{id}");
  await page.locator("table.paths tbody a").first().focus();
  await updates(page, 2);
  want("the focus stays", await page.evaluate(() => document.activeElement?.matches("table.paths tbody a")));
  await page.keyboard.press("Enter");
  await page.waitForSelector(".statuses li");
  want("a path opens by key, after an update", page.url().includes("#/path"));
  await page.click("text=Compare with the period before");
  await page.waitForSelector(".delta");
  want("comparison with the period before", (await page.locator(".delta").count()) >= 6);
  await page.goBack();
  await page.goBack();
  want("back leads back", !page.url().includes("#/path"));
  await page.click("button[data-range='7d']");
  await page.waitForFunction(() => [...document.querySelectorAll("th")].some((th) => th.textContent === "Over the range"));
  want("seven days", page.url().includes("range=7d"));
  await page.click("#theme");
  want("theme by hand", (await page.getAttribute("html", "data-theme")) === "light");
  await inspect("after use", page, trouble);
  await close();
}

/** Events: filters, and the live view with its pause. */
export async function watching(browser, base) {
  const { page, trouble, close } = await openPage(browser, base);
  await load(page, base + "/#/events?status=5xx", "table.events tbody tr");
  want("events by status", (await page.locator("table.events tbody .status").allTextContents()).every((s) => s.startsWith("5")));
  await load(page, base + "/#/events?status=418", ".panel.empty");
  want("a filter that nothing matches is named as the reason", (await page.innerText(".panel.empty")).includes("matches the filters"));
  await load(page, base + "/#/events", "table.events tbody tr");
  await page.click("text=Watch live");
  await page.waitForSelector("tr.fresh");
  want("events come live, with milliseconds", /\d\d:\d\d:\d\d\.\d{3}/.test(await page.innerText("tr.fresh time")));
  await page.click("text=Pause");
  const first = () => page.getAttribute("table.events tbody tr:first-child .event-link", "href");
  const held = await first(), { applied } = await ask(base, "/api/v1/accounting");
  await until("more events", async () => (await ask(base, "/api/v1/accounting")).applied > applied + 300);
  await painted(page);
  want("a pause holds the list", (await first()) === held);
  await page.click("text=Continue");
  await page.waitForFunction((old) => document.querySelector("table.events tbody tr:first-child .event-link").getAttribute("href") !== old, held);
  want("and it goes on", true);
  await page.click("text=Stop watching");
  await inspect("watching", page, trouble);
  await close();
}

/** From a chart to its requests, and to all fields of one. */
export async function toRequests(browser, base) {
  const { page, trouble, close } = await openPage(browser, base);
  await load(page, `${base}/${userPath}`, "table.events tbody tr");
  want("the title names the path", (await page.title()).startsWith("GET /users/{id}"), await page.title());
  const plot = page.locator(".chart .u-over").first();
  const box = await until("the chart is drawn", () => plot.boundingBox());
  await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/range=custom/);
  want("dragging over a chart zooms", true);
  await page.goBack();
  await page.waitForFunction(() => !location.hash.includes("custom"));
  await complete(page);
  const again = await until("the chart is drawn again", () => plot.boundingBox());
  await page.mouse.click(again.x + again.width - 3, again.y + 60);
  await page.waitForURL(/first=failed/);
  await page.waitForSelector("table.events tbody tr");
  await page.waitForSelector("h2");
  want("a point of a chart opens its requests, the failed ones first", /failed requests?|No request failed/.test(await page.locator("h2").first().textContent()));
  await page.locator("table.events .event-link").first().click();
  await page.waitForSelector("dialog.drawer[open] dd");
  want("a request is shown with all its fields", (await page.textContent("dialog.drawer")).includes("event_id"));
  await inspect("drawer", page, trouble);
  const address = page.url();
  await load(page, address, "dialog.drawer[open] dd");
  want("its address is a permalink", (await page.textContent("dialog.drawer")).includes("event_id"));
  await close();
}

/** The heat map: what is under the pointer, its requests, and the same figures as a table. */
export async function heatMap(browser, base) {
  const { page, trouble, close } = await openPage(browser, base);
  // Hours that are over: in the current one, the range of the latencies can change between finding a place on the chart and pressing it.
  const to = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000), from = new Date(to.getTime() - 4 * 3_600_000), range = `from=${from.toISOString()}&to=${to.toISOString()}`;
  const { points } = await ask(base, `/api/v1/series?path=/users/{id}&method=GET&host=shop.example&${range}&step=5m&bins=4`);
  const all = points.reduce((sum, p) => sum + (p.latency_bins.zeros ?? 0) + p.latency_bins.counts.reduce((a, b) => a + b, 0), 0);
  const column = points.findLastIndex((p) => p.count > 0);
  await load(page, `${base}/${userPath}&range=custom&${range}`, ".statuses li");
  const chart = page.locator("figure.chart", { hasText: "Requests by latency" });
  await chart.scrollIntoViewIfNeeded();
  const box = await until("the chart is drawn", () => chart.locator(".u-over").boundingBox());
  const under = () => chart.locator(".u-legend .u-series", { hasText: "Under the pointer" }).locator(".u-value").textContent();
  const x = box.x + (column + 0.5) * (box.width / points.length);
  let y = box.y + box.height + 1, text = "";
  while (y > box.y && !/^[1-9]/.test(text)) { // upwards, until there are requests
    y -= 3;
    await page.mouse.move(x, y);
    text = await under();
  }
  want("a heat map says how many requests took how long", /^[1-9][\d,]* took [\d.]+ (µs|ms|s) to [\d.]+ (µs|ms|s)$/.test(text), text);
  await page.mouse.click(x, y);
  await page.waitForURL(/view=|events\?/);
  await page.waitForSelector("table.events tbody tr");
  const query = await page.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.split("?")[1])));
  const least = query.latency.endsWith("ms") ? 1000 * parseFloat(query.latency) : Number(query.latency);
  const { events } = await ask(base, `/api/v1/events?${new URLSearchParams({ path: query.path, method: query.method, from: query.from, to: query.to, min_duration: query.latency, limit: "1000" })}`);
  want("a latency that is pressed opens the requests that took at least as long", least > 0 && events.length > 0 && events.every((e) => e.duration_us >= least), JSON.stringify(query));
  await page.goBack();
  await page.waitForSelector(".statuses li");
  await complete(page);
  await page.click(".as-table summary");
  const numbers = (await page.locator("[aria-label='Requests by latency'] tbody td:nth-child(2)").allTextContents()).map((n) => Number(n.replaceAll(",", "")));
  const shown = numbers.reduce((a, b) => a + b, 0);
  want("the table of latencies has them all", shown > 0 && shown === all, `${shown} of ${all}`);
  await inspect("heat map", page, trouble);
  await close();
}

/** The ranges with names have exactly the length that they say, in the page and in `wayside top`. The traffic must have stopped. */
export async function namedRanges(browser, scratch, base, data) {
  const { page, close } = await openPage(browser, base);
  for (const [range, length] of [["1h", 3600], ["24h", 24 * 3600], ["7d", 7 * 24 * 3600]]) {
    const { mine, top, shown } = await until(`the page and top within one minute, for ${range}`, async () => {
      const minute = () => Math.floor(Date.now() / 60_000), begun = minute();
      await page.goto("about:blank"); // so that the response is none to the page before
      const response = page.waitForResponse((r) => new URL(r.url()).pathname === "/api/v1/paths");
      await load(page, `${base}/#/?range=${range}`, "table.paths tbody a");
      const mine = await (await response).json();
      const top = JSON.parse(spawnSync(binary(scratch), ["top", "--data", data, "--window", range, "--output", "json"], { encoding: "utf8" }).stdout);
      const shown = await page.innerText(".toolbar > .muted");
      return minute() === begun && { mine, top, shown };
    });
    // In the first minute of an hour, the response is by the minute and ends with this minute. The rest of the hour, which the page shows, is to come.
    const unit = length > 48 * 3600 ? 3_600_000 : 60_000, end = Math.ceil(Date.parse(mine.to) / unit) * unit;
    want(`${range} is as long as it says`, end - Date.parse(mine.from) === 1000 * length, `${mine.from} to ${mine.to}`);
    want(`${range} is the same in wayside top`, mine.from === top.from && mine.to === top.to && mine.totals.count === top.totals.count && mine.totals.count > 0, JSON.stringify([mine.from, top.from, mine.totals.count, top.totals.count]));
    want(`${range} is shown as it is`, shown.includes(new Date(end).toISOString().slice(11, 16)) && shown.includes(new Date(mine.from).toISOString().slice(11, 16)), shown);
  }
  await close();
}

/** A time zone with half an hour, and UTC. */
export async function timeZones(browser, base) {
  const { page, trouble, close } = await openPage(browser, base, { ...desktop, timezoneId: "Asia/Kolkata" });
  await load(page, base + "/", "table.paths tbody a");
  await still("home at +5:30", page);
  const range = () => page.innerText(".toolbar > .muted");
  want("the time zone is named", /Asia\/(Kolkata|Calcutta)$/.test(await range()), await range());
  await page.click("button[data-range=custom]");
  const local = await page.inputValue(".custom input >> nth=0");
  await page.click(".custom button[type=submit]");
  await page.waitForURL(/range=custom/);
  const from = () => page.evaluate(() => new URLSearchParams(location.hash.split("?")[1]).get("from"));
  want("a range of one's own at +5:30", Date.parse(await from()) === Date.parse(local + ":00+05:30"), `${local} became ${await from()}`);

  await page.click("#zone");
  want("UTC is in the address", page.url().includes("tz=utc"));
  want("and named", (await range()).endsWith(", UTC"), await range());
  const inUTC = await page.inputValue(".custom input >> nth=0");
  want("fields are in UTC", Date.parse(inUTC + ":00Z") === Date.parse(await from()), inUTC);
  await page.click(".custom button[type=submit]");
  await painted(page);
  want("and read as UTC", Date.parse(await from()) === Date.parse(inUTC + ":00Z"), await from());
  await page.click("nav a:has-text('Events')");
  await page.waitForSelector("table.events tbody tr");
  const times = () => page.locator("table.events tbody tr:first-child time").evaluate((t) => ({ ts: t.getAttribute("datetime"), text: t.textContent }));
  const utc = await times();
  want("times of events are in UTC", utc.text.endsWith(utc.ts.slice(11, 23)), JSON.stringify(utc));
  await page.reload();
  await page.waitForSelector("table.events tbody tr");
  want("UTC stays after a reload", (await range()).endsWith(", UTC"));
  await page.click("#zone");
  await page.waitForSelector("table.events tbody tr");
  const there = await times(), shifted = new Date(Date.parse(there.ts) + 19_800_000).toISOString();
  want("and can be left", !page.url().includes("tz=") && there.text.endsWith(shifted.slice(11, 23)), JSON.stringify(there));
  await load(page, `${base}/${userPath}&tz=utc`, ".statuses li");
  want("the legends of charts name the zone", (await page.locator(".u-legend .u-series:first-child").allTextContents()).every((text) => text.includes("(UTC)")));
  await page.click("#brand");
  await page.waitForSelector("table.paths tbody a");
  want("all links keep UTC", page.url().endsWith("#/?tz=utc"), page.url());
  await inspect("UTC", page, trouble);
  await close();
}
