// Updates come every second or two. They must not undo what a user is doing.
import { desktop, load, openPage, painted, updates, want } from "../browser.mjs";
import { failingPaths, userPath } from "./views.mjs";

/** Presses the pointer on an element, waits for updates, and releases it. */
async function longPress(page, selector, path) {
  const box = await page.locator(selector).first().boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await updates(page, 2, path);
  await page.mouse.up();
  await painted(page);
}

export async function duringUpdates(browser, base) {
  const { page, close } = await openPage(browser, base);
  await load(page, base + "/", "table.paths tbody a");
  const columns = () => page.$$eval("table.paths thead th", (all) => all.map((th) => Math.round(th.getBoundingClientRect().x)).join());
  await longPress(page, "thead button[data-key=p95]", "/api/v1/paths");
  want("a press on a column holds through updates", (await page.getAttribute("th:has(button[data-key=p95])", "aria-sort")) === "descending");
  const before = await columns();
  await updates(page, 2);
  want("no column moves with an update", (await columns()) === before, `${before}, then ${await columns()}`);
  await longPress(page, "button[data-range='6h']", "/api/v1/paths");
  want("a press on a range holds through updates", page.url().includes("range=6h"));
  await longPress(page, "table.paths tbody a", "/api/v1/paths");
  await page.waitForURL(/#\/path/);
  want("a press on a path holds through updates", true);

  await load(page, `${base}/${userPath}&range=1h`, ".statuses li");
  await page.click(".as-table summary");
  await page.locator(".as-table tbody tr:nth-child(2) a").focus();
  const href = await page.evaluate(() => document.activeElement.getAttribute("href"));
  await updates(page, 3, "/api/v1/series");
  want("the focus stays in the table of steps, which stays open", await page.evaluate((h) => document.activeElement?.getAttribute("href") === h, href));
  await load(page, base + "/#/books", ".findings li");
  await page.click("details summary");
  await updates(page, 2, "/api/v1/storage");
  want("what was opened in the books stays open", await page.evaluate(() => document.querySelector("main details").open));
  const servers = async () => page.innerText("[aria-label=Servers] tbody tr");
  want("the books list the server behind wayside", /127\.0\.0\.1:\d+[\s\S]*up/.test(await servers()), await servers());
  await close();
}

/** An update that was requested before a press, and arrives after it, does not undo the press. */
export async function pressBeforeResponse(browser, base) {
  const { page, close } = await openPage(browser, base);
  await load(page, base + "/", "table.paths tbody a");
  let release, requested;
  const released = new Promise((done) => { release = done; }), request = new Promise((done) => { requested = done; });
  await page.route("**/api/v1/paths?*", async (route) => {
    requested();
    await released;
    await route.continue();
  }, { times: 1 });
  await request;
  await page.click("thead button[data-key=p95]");
  const arrived = updates(page, 1);
  release();
  await arrived;
  const order = () => page.getAttribute("th:has(button[data-key=p95])", "aria-sort");
  want("an update that was on its way does not undo a press", (await order()) === "descending", String(await order()));
  await close();
}

export async function selectionAndScroll(browser, base) {
  const { page, close } = await openPage(browser, base, { ...desktop, viewport: { width: 1280, height: 500 } });
  await load(page, base + "/", "table.paths tbody a");
  await page.evaluate(() => {
    window.getSelection().selectAllChildren(document.querySelector("table.paths tbody .path"));
    window.scrollTo(0, 400);
  });
  const state = () => page.evaluate(() => ({ selected: String(getSelection()), scrolled: scrollY }));
  const before = await state();
  await updates(page, 3);
  const after = await state();
  want("selection and scroll position stay through updates", before.selected !== "" && before.scrolled > 0 && JSON.stringify(before) === JSON.stringify(after), JSON.stringify([before, after]));
  await close();
}

/** Screen readers hear a view once, and no updates but the beginning of an incident. */
export async function announcements(browser, base) {
  const { page, close } = await openPage(browser, base);
  await failingPaths(page, []); // a path of the demo can really become slow
  for (const [name, hash, there, path] of [["home", "", "table.paths tbody a", "/api/v1/paths"], ["path", userPath, ".statuses li", "/api/v1/series"], ["books", "#/books", ".findings li", "/api/v1/storage"]]) {
    await load(page, `${base}/${hash}`, there);
    want(`${name}: is announced`, (await page.textContent("#announce")) !== "");
    await page.evaluate(() => {
      window.heard = [];
      for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
        new MutationObserver(() => window.heard.push(region.id || region.className || region.nodeName)).observe(region, { childList: true, characterData: true, subtree: true });
      }
    });
    await updates(page, 4, path);
    const heard = await page.evaluate(() => window.heard);
    want(`${name}: updates are not announced`, heard.length === 0, heard.join(", "));
  }
  await close();
}

/** Eight tabs of one browser: all of them load, and one has the stream. */
export async function eightTabs(browser, base) {
  const context = await browser.newContext(desktop);
  context.setDefaultTimeout(60_000);
  let streams = 0;
  context.on("request", (r) => { if (r.url().endsWith("/api/v1/live")) streams++; });
  const pages = [];
  for (let i = 0; i < 8; i++) {
    const page = await context.newPage();
    await page.goto(base + "/");
    pages.push(page);
  }
  const live = (page) => page.waitForFunction(() => document.getElementById("live-text").textContent === "Live");
  for (const page of pages) {
    await page.waitForSelector("table.paths tbody a");
    await live(page);
  }
  want("eight tabs are live with one stream", streams === 1, `${streams} streams`);
  await pages[0].close();
  await live(pages[7]);
  await updates(pages[7], 2);
  want("and stay live without the first", true);
  await context.close();
}
