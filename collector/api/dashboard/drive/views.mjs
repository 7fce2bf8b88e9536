// Every view, in both themes and on a phone.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { desktop, inspect, load, openPage, painted, screens, still, updates, want } from "../browser.mjs";
import { ask, root } from "./servers.mjs";

export const userPath = "#/path?path=%2Fusers%2F%7Bid%7D&method=GET&host=shop.example";
const views = [ // name, address, an element that is there when it is loaded, and the path of the API that its updates request
  ["paths", "#/", "table.paths tbody a", "/api/v1/paths"], ["compare", "#/?range=6h&compare=1", ".delta", "/api/v1/paths"],
  ["week", "#/?range=7d&tz=utc", "table.paths tbody a"], ["path", userPath, ".statuses li", "/api/v1/series"],
  ["changes", "#/changes?range=1h", "#against", "/api/v1/changes"], ["events", "#/events?first=failed", "table.events tbody tr"],
  ["drawer", "EVENT", "dialog.drawer[open] dd"], ["books", "#/books", ".findings li", "/api/v1/storage"],
];

/** The last cell of the tables that a phone must show without scrolling sideways. */
const tables = { paths: "table.paths tbody td:nth-child(7)", events: "table.events tbody td:nth-child(4)" };

/** Gives a page a list of failing paths. On a busy machine, paths of the demo are really slower than usual at some time. */
export async function failingPaths(page, incidents) {
  await page.unroute("**/api/v1/failing");
  await page.route("**/api/v1/failing", (route) => route.fulfill({ json: { checked_at: new Date().toISOString(), rows: 20, incidents, total: incidents.length } }));
}

export async function everyView(browser, base, shots) {
  const { events } = await ask(base, "/api/v1/events?limit=1");
  for (const [screen, context] of screens) {
    const { page, trouble, close } = await openPage(browser, base, { ...context, deviceScaleFactor: shots ? 2 : 1 });
    await failingPaths(page, []);
    for (const [name, hash, there, updating] of views) {
      const title = `${name}, ${screen}`;
      await load(page, `${base}/${hash === "EVENT" ? `#/events?event=${events[0].event_id}` : hash}`, there);
      if (updating && screen === "light") await updates(page, 2, updating);
      await still(title, page);
      if (screen === "phone" && tables[name]) {
        const right = await page.evaluate((cell) => document.querySelector(cell).getBoundingClientRect().right, tables[name]);
        want(`${title}: the figures of the table are on the screen`, right <= context.viewport.width, `they end at ${Math.round(right)} px`);
      }
      if (shots) await page.screenshot({ path: join(shots, `${name}-${screen}.png`) });
      if (shots) await page.screenshot({ path: join(shots, `${name}-${screen}-whole.png`), fullPage: true });
      await inspect(title, page, trouble);
    }
    await failingShown(page, base, screen, trouble, shots);
    if (screen === "phone") {
      await load(page, base + "/", "table.paths tbody a");
      const box = await page.locator("table.paths tbody a").first().boundingBox();
      want("the first path is on the first screen of a phone", box.y + box.height <= context.viewport.height, `${box.y} px`);
    }
    await close();
  }
}

/** The list of failing paths; the demo has none, so the response about a real row says that it fails. test/incident has real ones. */
async function failingShown(page, base, screen, trouble, shots) {
  const { paths } = await ask(base, "/api/v1/paths?limit=2");
  const since = new Date(Date.now() - 600_000).toISOString();
  const incidents = paths.map((r, i) => ({
    kind: i === 0 ? "errors" : "slow", host: r.host, method: r.method, path: r.path, since, from: since, count: 200, bad: 114, share: 0.57, usual_share: 0.002,
    usual_count: 9000, p95_us: 812_000, usual_p95_us: 41_000, affected: 114,
  }));
  await failingPaths(page, incidents);
  await load(page, base + "/", ".failing li a");
  want(`failing, ${screen}: names path, share and beginning`, /57 %.*usually 0\.2 %/s.test(await page.innerText(".failing li:first-child")) && (await page.locator("tr.alarm").count()) === 1);
  await still(`failing, ${screen}`, page);
  if (shots) await page.screenshot({ path: join(shots, `failing-${screen}.png`) });
  await inspect(`failing, ${screen}`, page, trouble);
  await failingPaths(page, []);
}

/** On paper, there are the figures and nothing to press. */
export async function printed(browser, base) {
  const { page, close } = await openPage(browser, base);
  await load(page, base + "/", "table.paths tbody a");
  await page.emulateMedia({ media: "print" });
  const shown = (selector) => page.locator(selector).first().isVisible();
  want("on paper: figures, but no buttons", (await shown(".tiles")) && (await shown("table.paths")) && !(await shown("nav")) && !(await shown("#theme")) && !(await shown(".segments button")));
  await close();
}

/** The links of the Grafana dashboard lead to the path, with the range of the dashboard. */
export async function fromGrafana(browser, base) {
  const { panels, links } = JSON.parse(readFileSync(join(root, "configs/grafana-dashboard.json"), "utf8"));
  const to = new Date(), from = new Date(to.getTime() - 3 * 3_600_000);
  const filled = (url, path, method) => url.replace("${wayside}", base).replace("${__from:date:iso}", from.toISOString()).replace("${__to:date:iso}", to.toISOString())
    .replace("${__field.labels.http_route:percentencode}", encodeURIComponent(path)).replace("${__field.labels.http_request_method:percentencode}", method);
  const { page, trouble, close } = await openPage(browser, base, desktop);
  for (const url of new Set(panels.flatMap((p) => p.fieldConfig?.defaults.links ?? []).map((l) => l.url).filter((l) => l.includes("/path?")))) {
    await load(page, filled(url, "/users/{id}", "GET"), ".statuses li");
    want("a link in Grafana leads to the path", (await page.innerText(".title h1")).endsWith("/users/{id}") && (await page.getAttribute("button[data-range=custom]", "aria-pressed")) === "true", await page.innerText(".title"));
  }
  await load(page, filled(links[0].url), "table.paths tbody a");
  want("the link above the dashboard keeps the range", (await page.evaluate(() => new URLSearchParams(location.hash.split("?")[1]).get("from"))) === from.toISOString());
  await painted(page);
  want("links in Grafana lead to no error", trouble.length === 0, trouble.join(" | "));
  await close();
}
