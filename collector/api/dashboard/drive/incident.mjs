// A real incident that begins while pages are open. Nobody may lose their place because of it.
import { desktop, load, openPage, painted, screens, until, updates, want } from "../browser.mjs";
import { ask, startTrusting } from "./servers.mjs";
import { failingPaths } from "./views.mjs";

const phone = screens.find(([name]) => name === "phone")[1];
// Each path has its own share of the requests, so that the order of the rows stays the same.
const paths = Object.entries({ "/items": 6, "/checkout": 5, "/search": 4, "/cart": 3, "/account": 2, "/help": 1 }).flatMap(([path, n]) => Array(n).fill(path));
const pause = 10; // ms between requests
const before = 1500; // requests before the incident

/** Sends requests to all paths in turn, until it is stopped. */
function sendSteadily(send) {
  let going = true;
  const sent = (async () => {
    for (let i = 0; going; i++) {
      await send(paths[i % paths.length]);
      await new Promise((done) => setTimeout(done, pause));
    }
  })();
  sent.catch(() => {}); // reported when it is awaited
  return () => { going = false; return sent; };
}

const place = (page, selector) => page.evaluate((s) => Math.round(document.querySelector(s).getBoundingClientRect().y + scrollY), selector);

/** An incident begins while four pages are open: on a desktop and on a phone, the home page and the page of the path. */
export async function incidentBegins(browser, scratch) {
  let broken = false, n = 0;
  const shop = await startTrusting(scratch, "incident", (request, response) => {
    response.statusCode = broken && request.url === "/checkout" && n++ % 2 === 0 ? 503 : 200;
    response.end("ok");
  });
  const stop = sendSteadily((path) => fetch(`http://${shop.listen}${path}`).then((r) => r.text()));
  try {
    await until("there is a history", async () => (await ask(shop.base, "/api/v1/accounting")).applied >= before);
    await until("all paths are compared with it", async () => (await ask(shop.base, "/api/v1/failing")).rows >= new Set(paths).size);
    const { host } = (await ask(shop.base, "/api/v1/paths?limit=1")).paths[0];
    const checkout = `#/path?${new URLSearchParams({ path: "/checkout", method: "GET", host })}`, pages = [];
    for (const [screen, context] of [["desktop", desktop], ["phone", phone]]) {
      for (const [view, hash, there, alarm, api] of [["home", "", ".failing.nothing", ".failing li.bad a", "/api/v1/paths"], ["path", checkout, ".statuses li", ".titled .notice.bad", "/api/v1/series"]]) {
        const { page, close } = await openPage(browser, shop.base, context);
        await load(page, `${shop.base}/${hash}`, there);
        await page.evaluate(() => { window.shift = 0; window.shifted = []; });
        pages.push({ name: `${view}, ${screen}`, page, close, alarm, api, top: await place(page, ".tiles") });
      }
    }
    broken = true;
    for (const { name, page, alarm, api, close, top } of pages) {
      await page.waitForSelector(alarm);
      await updates(page, 2, api);
      const { shift, shifted } = await page.evaluate(() => ({ shift: window.shift, shifted: window.shifted }));
      want(`an incident begins, ${name}: the layout stays where it is`, shift < 0.05, `${shift}: ${shifted.join(", ")}`);
      if (name.startsWith("home")) want(`an incident begins, ${name}: it is announced`, /^Failing now: GET \/checkout, .* fail/.test(await page.textContent("#announce")), await page.textContent("#announce"));
      const now = await place(page, ".tiles");
      want(`an incident begins, ${name}: the figures stay where they are`, now === top, `${top} px, then ${now} px`);
      console.log(`     layout shift ${shift.toFixed(4)}`);
      await close();
    }
  } finally {
    await stop();
    await shop.stop();
  }
}

/** Incidents come and go while the home page is open, which is made smaller or larger only by the user. */
export async function incidentsComeAndGo(browser, base) {
  const { paths: rows } = await ask(base, "/api/v1/paths?limit=7");
  const since = new Date(Date.now() - 600_000).toISOString();
  const incidents = rows.map((r) => ({
    kind: "errors", host: r.host, method: r.method, path: r.path, since, from: since, count: 200, bad: 114, share: 0.57, usual_share: 0.002, usual_count: 9000, affected: 114,
  }));
  for (const [screen, context] of [["desktop", desktop], ["phone", phone]]) {
    const { page, close } = await openPage(browser, base, context);
    const listed = (n) => page.waitForFunction((count) => document.querySelectorAll(".failing li").length === count, n);
    await failingPaths(page, []);
    await load(page, base + "/", ".failing.nothing");
    const top = await place(page, ".tiles");
    await failingPaths(page, incidents.slice(0, 3));
    await listed(1);
    await painted(page);
    const button = page.locator(".failing button");
    want(`three incidents, ${screen}: one is listed, and nothing moves`, (await place(page, ".tiles")) === top && (await button.innerText()) === "Show 2 more paths", await button.innerText());
    await button.click();
    await listed(3);
    const larger = await place(page, ".tiles");
    want(`three incidents, ${screen}: all are listed when the user wants it`, larger > top);
    await failingPaths(page, []);
    await page.waitForSelector(".failing.nothing");
    await painted(page);
    want(`no incident, ${screen}: nothing moves`, (await place(page, ".tiles")) === larger, `${await place(page, ".tiles")} px, not ${larger}`);
    await page.click("button[data-range='6h']");
    want(`no incident, ${screen}: another range, and the place is as small as before`, (await place(page, ".tiles")) === top, `${await place(page, ".tiles")} px, not ${top}`);
    await failingPaths(page, incidents);
    await load(page, base + "/", ".failing li");
    want(`seven incidents, ${screen}: five are listed at first`, (await page.locator(".failing li").count()) === 5 && (await button.innerText()) === "Show 2 more paths");
    await close();
  }
}
