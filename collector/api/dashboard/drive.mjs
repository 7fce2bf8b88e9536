// Drives the dashboard in a real Chromium on real demo traffic, the hostile paths of hostile.mjs included.
//
//   node drive.mjs [--shots DIR] [--hours N]
//
// It wants: every view in both themes and at phone width without a script error, a policy violation, a request to anywhere
// else, a serious finding of axe-core, or anything wider than the screen; updates that come by themselves; search, order,
// comparison, themes and keys that work; words instead of figures where there are none; and not one hostile path that did
// anything. Each is a line; the exit code is 1 if one of them fails, 77 if there is no browser.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { hostilePaths, sendHostile } from "./hostile.mjs";

const option = (name, otherwise) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise);
const shots = option("--shots", "");
const hours = Number(option("--hours", "5"));
const root = fileURLToPath(new URL("../../../", import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

let failed = 0;
function want(what, holds, detail = "") {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${holds || !detail ? "" : ": " + detail}`);
  if (!holds) failed++;
}

/** The demo, with its clock in the past and moved on hour by hour, so that there is a history to look at. */
async function startDemo(scratch) {
  const binary = join(scratch, "wayside"), clock = join(scratch, "clock"), data = join(scratch, "data");
  const built = spawnSync("go", ["build", "-tags", "faults", "-o", binary, "./cmd/wayside"], { cwd: root, stdio: "inherit" });
  if (built.status !== 0) throw new Error("wayside cannot be built");
  writeFileSync(clock, `-${hours}h`);
  const demo = spawn(binary, ["demo", "--rate", "300", "--data", data], { env: { ...process.env, WAYSIDE_FAULT_CLOCK: clock }, stdio: "ignore" });
  const info = join(data, "run.json");
  for (let i = 0; i < 200 && !existsSync(info); i++) await sleep(50);
  const { admin } = JSON.parse(readFileSync(info, "utf8"));
  for (let left = hours - 1; left >= 0; left--) {
    await sleep(450 + 500 * (1 + Math.sin(((left + 5) / 24) * 2 * Math.PI)) * (shots ? 1 : 0.3));
    writeFileSync(clock, left === 0 ? "0s" : `-${left}h`);
  }
  return { demo, admin };
}

/** A page that notes everything that must not happen. */
async function openPage(browser, base, context) {
  const page = await (await browser.newContext(context)).newPage();
  const trouble = [];
  page.on("console", (m) => { if (m.type() === "error" || /Refused to|Content Security Policy/.test(m.text())) trouble.push("console: " + m.text()); });
  page.on("pageerror", (e) => trouble.push("script error: " + e.message));
  page.on("dialog", (d) => { trouble.push("dialog: " + d.message()); void d.dismiss(); });
  page.on("request", (r) => { if (!r.url().startsWith(base + "/")) trouble.push("request to elsewhere: " + r.url()); });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI));
  });
  return { page, trouble };
}

async function inspect(name, page, trouble) {
  const state = await page.evaluate(() => ({
    broken: Boolean(window.broken), violations: window.violations, wide: document.documentElement.scrollWidth - window.innerWidth,
  }));
  await page.evaluate(axe);
  const findings = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations
    .filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join("; ")}`));
  want(`${name}: no script of a stranger ran`, !state.broken && !trouble.some((t) => t.startsWith("dialog")));
  want(`${name}: no policy violation`, state.violations.length === 0, state.violations.join(", "));
  want(`${name}: no error, no request to elsewhere`, trouble.length === 0, trouble.join(" | "));
  want(`${name}: axe-core finds nothing serious`, findings.length === 0, findings.join(" | "));
  want(`${name}: nothing wider than the screen`, state.wide <= 0, `${state.wide} px`);
  trouble.length = 0;
}

const userPath = "#/path?path=%2Fusers%2F%7Bid%7D&method=GET&host=shop.example";
const views = [["paths", "#/", "table.paths tbody a"], ["compare", "#/?range=6h&compare=1", ".delta"], ["path", userPath, ".statuses li"], ["changes", "#/changes?range=1h", "#against"], ["events", "#/events", "table.events tbody tr"], ["books", "#/books", ".findings li"]];
const sizes = [["wide", { width: 1280, height: 860 }], ["phone", { width: 390, height: 844 }]];

async function everyView(browser, base) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of sizes) {
      const { page, trouble } = await openPage(browser, base, { viewport, colorScheme, deviceScaleFactor: shots ? 2 : 1 });
      for (const [name, hash, there] of views) {
        await page.goto(base + "/" + hash);
        await page.waitForSelector(there);
        await page.waitForTimeout(shots ? 900 : 250);
        if (shots) await page.screenshot({ path: join(shots, `${name}-${colorScheme}-${size}.png`) });
        await inspect(`${name}, ${colorScheme}, ${size}`, page, trouble);
      }
      await page.context().close();
    }
  }
}

async function using(browser, base) {
  const { page, trouble } = await openPage(browser, base, { viewport: sizes[0][1] });
  await page.goto(base + "/");
  await page.waitForSelector("table.paths tbody a");
  const total = () => page.textContent(".tile:first-child dd");
  const before = await total();
  await page.waitForFunction((old) => document.querySelector(".tile:first-child dd")?.textContent !== old, before, { timeout: 15_000 }).catch(() => {});
  want("figures move by themselves", (await total()) !== before, before);

  await page.click("thead button[data-key=p95]");
  want("order by p95", (await page.getAttribute("th:has(button[data-key=p95])", "aria-sort")) === "descending");
  await page.keyboard.press("Enter");
  want("the other way round, by key", (await page.getAttribute("th:has(button[data-key=p95])", "aria-sort")) === "ascending");
  await page.click("#paths-heading");
  await page.keyboard.press("/");
  await page.keyboard.type("orders/{id}");
  want("search", (await page.locator("table.paths tbody tr").allTextContents()).every((t) => t.includes("orders/{id}")));
  await page.fill("#search", "nothing has this name");
  want("words where nothing matches", (await page.textContent("td.empty")).includes("No path matches"));
  await page.fill("#search", "/users/{id}");
  await page.locator("table.paths tbody a").first().focus();
  await page.waitForTimeout(2500); // an update must not take the focus away
  want("the focus stays", await page.evaluate(() => document.activeElement?.matches("table.paths tbody a")));
  await page.keyboard.press("Enter");
  await page.waitForSelector(".statuses li", { timeout: 10_000 }).catch(async (err) => {
    console.error(page.url(), await page.innerText("main"), await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200)));
    throw err;
  });
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
  await page.goto(base + "/#/events?status=5xx");
  await page.waitForSelector("table.events tbody tr");
  want("events by status", (await page.locator("table.events tbody .status").allTextContents()).every((s) => s.startsWith("5")));
  await page.click("text=Watch live");
  await page.waitForSelector("tr.fresh", { timeout: 15_000 }).catch(() => {});
  want("events come live", (await page.locator("tr.fresh").count()) > 0);
  await inspect("after use", page, trouble);
  await page.context().close();
}

/** A wayside before an application that answers everything, so that hostile paths get rows of their own. */
async function startTrusting(scratch) {
  const app = createServer((_, response) => response.end("ok"));
  await new Promise((done) => app.listen(0, "127.0.0.1", done));
  const data = join(scratch, "trusting"), info = join(data, "run.json");
  const wayside = spawn(join(scratch, "wayside"), ["run", "--upstream", `http://127.0.0.1:${app.address().port}`, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data], { stdio: "ignore" });
  for (let i = 0; i < 200 && !existsSync(info); i++) await sleep(50);
  const { admin, listen } = JSON.parse(readFileSync(info, "utf8"));
  return { base: admin, listen, stop: () => { wayside.kill("SIGKILL"); app.close(); } };
}

async function hostile(browser, scratch) {
  const { base, listen, stop } = await startTrusting(scratch);
  try {
    await lookAtHostile(browser, base, listen);
  } finally {
    stop();
  }
}

async function lookAtHostile(browser, base, listen) {
  const answers = await sendHostile(listen);
  want("hostile requests are answered", answers === hostilePaths.length, `${answers} of ${hostilePaths.length}`);
  await sleep(2500);
  const { page, trouble } = await openPage(browser, base, { viewport: sizes[0][1] });
  await page.goto(base + "/");
  await page.waitForSelector("table.paths tbody a");
  await page.fill("#search", "window.broken"); // what stands behind it is taken for a value
  await page.waitForTimeout(300);
  const rows = await page.locator("table.paths tbody a").count();
  want("hostile rows are listed", rows >= 20, `${rows} rows`);
  await inspect("hostile paths listed", page, trouble);
  await page.goto(base + "/#/events");
  await page.waitForSelector("table.events tbody tr");
  let shown = await page.locator("table.events .path", { hasText: "window.broken" }).count();
  for (let i = 0; i < 5 && shown < 50 && (await page.locator("text=Load older events").isVisible()); i++) {
    await page.click("text=Load older events");
    await page.waitForTimeout(400);
    shown = await page.locator("table.events .path", { hasText: "window.broken" }).count();
  }
  want("hostile events are shown as they were sent", shown >= 50, `${shown} events`);
  console.log(`     ${rows} hostile rows, ${shown} hostile events`);
  await inspect("hostile events", page, trouble);
  for (const path of [hostilePaths[0], hostilePaths[1], "javascript:alert(1)"]) {
    await page.goto(base + "/#/path?" + new URLSearchParams({ path, method: "<b>", host: "<img src=x onerror=alert(1)>" }));
    await page.waitForSelector(".title .path");
    await page.waitForTimeout(200);
  }
  await inspect("hostile address", page, trouble);
  await page.context().close();
}

/** From a chart to its requests, and to all fields of one. */
async function toRequests(browser, base) {
  const { page, trouble } = await openPage(browser, base, { viewport: sizes[0][1] });
  await page.goto(base + "/" + userPath);
  await page.waitForSelector("table.events tbody tr");
  want("the title names the path", (await page.title()).startsWith("GET /users/{id}"), await page.title());
  const box = await page.locator(".chart .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.8, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/range=custom/);
  want("dragging over a chart zooms", true);
  await page.goBack();
  await page.waitForFunction(() => !location.hash.includes("custom"));
  await page.waitForSelector(".statuses li");
  const again = await page.locator(".chart .u-over").first().boundingBox();
  await page.mouse.click(again.x + again.width - 3, again.y + 60);
  await page.waitForURL(/first=failed/);
  await page.waitForSelector("table.events tbody tr");
  want("a point of a chart opens its requests, the failed ones first", /failed requests?|No request failed/.test(await page.locator("h2").first().textContent()));
  await page.locator("table.events .event-link").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog.drawer[open] dd");
  want("a request is shown with all its fields, by key", (await page.textContent("dialog.drawer")).includes("event_id"));
  const address = page.url();
  await inspect("drawer", page, trouble);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !location.hash.includes("event="));
  want("Escape closes it", (await page.locator("dialog.drawer[open]").count()) === 0);
  await page.goto("about:blank");
  await page.goto(address);
  await page.waitForSelector("dialog.drawer[open] dd");
  want("its address is a permalink", (await page.textContent("dialog.drawer")).includes("event_id"));
  await page.context().close();
}

/** A time zone with half an hour, and a page that does not move while it loads. */
async function halfHours(browser, base) {
  const { page } = await openPage(browser, base, { viewport: sizes[0][1], timezoneId: "Asia/Kolkata" });
  await page.addInitScript(() => {
    window.shift = 0;
    window.moved = [];
    new PerformanceObserver((list) => {
      for (const e of list.getEntries()) {
        if (e.hadRecentInput) continue;
        window.shift += e.value;
        for (const s of e.sources) window.moved.push(`${s.node?.nodeName}.${s.node?.className ?? ""} ${Math.round(s.previousRect.y)}→${Math.round(s.currentRect.y)}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  await page.goto(base + "/");
  await page.waitForSelector("table.paths tbody a");
  await page.waitForFunction(() => document.querySelectorAll(".u-over").length === 2);
  const shift = await page.evaluate(() => window.shift);
  want("the layout stays where it is while loading", shift < 0.05, `${shift}: ${(await page.evaluate(() => window.moved)).join(", ")}`);
  await page.click("button[data-range=custom]");
  await page.click(".custom button[type=submit]");
  await page.waitForURL(/range=custom/);
  want("a range of one's own at +5:30", true);
  await page.context().close();
}

/** Eight tabs of one browser: all of them load, and one has the stream. */
async function eightTabs(browser, base) {
  const context = await browser.newContext({ viewport: sizes[0][1] });
  let streams = 0;
  context.on("request", (r) => { if (r.url().endsWith("/api/v1/live")) streams++; });
  const pages = [];
  for (let i = 0; i < 8; i++) {
    const page = await context.newPage();
    await page.goto(base + "/");
    pages.push(page);
  }
  for (const page of pages) {
    await page.waitForSelector("table.paths tbody a");
    await page.waitForFunction(() => document.getElementById("live-text").textContent === "Live");
  }
  want("eight tabs are live with one stream", streams === 1, `${streams} streams`);
  await pages[0].close();
  await pages[7].waitForFunction(() => document.getElementById("live-text").textContent === "Live");
  await context.close();
}

/** The page of a wayside whose books process is away. */
async function booksAway(browser, scratch) {
  const data = join(scratch, "away"), info = join(data, "run.json");
  const wayside = spawn(join(scratch, "wayside"), ["run", "--no-collector", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data], { stdio: "ignore" });
  try {
    for (let i = 0; i < 600 && !existsSync(info); i++) await sleep(50);
    const { admin } = JSON.parse(readFileSync(info, "utf8"));
    const page = await (await browser.newContext({ viewport: sizes[0][1] })).newPage();
    await page.goto(admin + "/");
    await page.waitForFunction(() => document.getElementById("live-text").textContent.startsWith("Away since"));
    await page.waitForSelector(".notice.bad:visible");
    want("the page loads while the books are away, and says so", (await page.textContent(".notice.bad")).includes("Nothing can be shown yet"));
    await page.context().close();
  } finally {
    wayside.kill("SIGKILL");
  }
}

async function afterTheEnd(browser, base, demo) {
  const { page } = await openPage(browser, base, { viewport: sizes[0][1] });
  await page.goto(base + "/");
  await page.waitForSelector("table.paths tbody a");
  demo.kill("SIGKILL");
  await page.waitForSelector(".notice.bad:visible", { timeout: 30_000 }).catch(() => {});
  want("it says when nobody answers", (await page.locator(".notice:visible").allTextContents()).join(" ").includes("cannot be reached"));
  want("and since when", (await page.textContent("#live-text")).startsWith("Away since"));
  want("and keeps what it knew", (await page.locator("table.paths tbody a").count()) > 5);
  await page.context().close();
}

if (!browserPath) {
  console.error("SKIPPED: no Chromium: NO browser looked at the dashboard");
  process.exit(77);
}
const scratch = mkdtempSync(join(tmpdir(), "wayside-drive-"));
const { demo, admin } = await startDemo(scratch);
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
if (process.getuid() === 0) flags.push("--no-sandbox");
const browser = await chromium.launch({ executablePath: browserPath, args: flags });
try {
  if (shots) {
    await sleep(20_000); // so that there is something recent; much longer, and the present hour outshines those before
    await everyView(browser, admin);
  }
  await using(browser, admin);
  if (!shots) await everyView(browser, admin);
  await toRequests(browser, admin);
  await halfHours(browser, admin);
  await eightTabs(browser, admin);
  await booksAway(browser, scratch);
  await hostile(browser, scratch);
  await afterTheEnd(browser, admin, demo);
} finally {
  await browser.close();
  demo.kill("SIGKILL");
  await sleep(500);
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${Math.round(process.uptime())} s`);
console.log(failed === 0 ? "the dashboard holds" : `${failed} FAILED`);
process.exit(failed === 0 ? 0 : 1);
