// Everything without a pointer.
import { complete, inspect, load, openPage, painted, want } from "../browser.mjs";

/** Presses the tab key until an element that matches has the focus. */
async function tabTo(page, selector) {
  for (let i = 0; i < 300; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((s) => document.activeElement?.matches(s) ?? false, selector)) return;
  }
  throw new Error(`the tab key does not lead to ${selector}`);
}

export async function keyboardOnly(browser, base) {
  const { page, trouble, close } = await openPage(browser, base);
  const focusIs = (selector) => page.evaluate((s) => document.activeElement?.matches(s) ?? false, selector);
  const press = (key) => page.keyboard.press(key);
  await load(page, base + "/#/books", ".findings li");
  await press("Tab");
  want("keyboard: the first stop skips to the content", (await focusIs("a.skip")) && (await page.locator("a.skip").boundingBox()).x >= 0);
  await press("Enter");
  await painted(page);
  want("keyboard: the content has the focus, and the view stays", (await focusIs("#main")) && (await page.locator(".findings li").count()) > 0 && page.url().endsWith("#/books"));
  await load(page, base + "/", "table.paths tbody a");
  await tabTo(page, "button[data-range='6h']");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  want("keyboard: the focus can be seen", outline !== "none", outline);
  await press("Enter");
  await page.waitForURL(/range=6h/);
  want("keyboard: a range", (await page.getAttribute("button[data-range='6h']", "aria-pressed")) === "true");
  await tabTo(page, "thead button[data-key=errors]");
  await press("Space");
  want("keyboard: an order", (await page.getAttribute("th:has(button[data-key=errors])", "aria-sort")) === "descending", `${page.url()} ${await page.evaluate(() => document.activeElement.outerHTML.slice(0, 100))}`);
  await press("/");
  await page.keyboard.type("/users/{id}");
  await tabTo(page, "table.paths tbody a");
  await press("Enter");
  await page.waitForSelector(".statuses li");
  await complete(page);
  await tabTo(page, ".as-table summary");
  await press("Enter");
  await tabTo(page, ".as-table tbody a");
  await press("Enter");
  await page.waitForURL(/first=failed/);
  await page.waitForSelector("table.events tbody tr");
  want("keyboard: from a step to its requests", true);
  await tabTo(page, ".event-link");
  const opened = await page.evaluate(() => document.activeElement.getAttribute("href"));
  await press("Enter");
  await page.waitForSelector("dialog.drawer[open] dd");
  for (let i = 0; i < 12; i++) {
    await press("Tab");
    if (!(await page.evaluate(() => document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)))) want("keyboard: the drawer keeps the focus", false);
  }
  await inspect("keyboard, drawer", page, trouble);
  await press("Escape");
  await page.waitForFunction(() => !location.hash.includes("event="));
  want("keyboard: Escape closes the drawer, and the focus is back", await page.evaluate((href) => document.activeElement?.getAttribute("href") === href, opened));
  await page.evaluate(() => document.activeElement.blur());
  await tabTo(page, "#zone");
  await press("Enter");
  await page.waitForURL(/tz=utc/);
  want("keyboard: UTC, and the focus stays", await focusIs("#zone"));
  await tabTo(page, "#theme");
  await press("Enter");
  want("keyboard: a theme", (await page.getAttribute("html", "data-theme")) === "light");
  await tabTo(page, "button[data-range=custom]");
  if (!(await page.isVisible(".custom"))) await press("Enter");
  await page.locator(".custom input").first().focus();
  await tabTo(page, ".custom button[type=submit]");
  await press("Enter");
  await page.waitForURL(/range=custom/);
  want("keyboard: a range of one's own", true);
  await close();
}
