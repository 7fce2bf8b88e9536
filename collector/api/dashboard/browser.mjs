// What the scripts that drive the dashboard in a real Chromium share.
import { readFileSync, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);

const starts = 3; // at most

/** Starts the browser. Chromium sometimes crashes while it starts. Then nothing of the dashboard has been tried yet, and it is started again. */
export async function launch() {
  for (let left = starts - 1; ; left--) {
    try {
      return await chromium.launch({ executablePath: browserPath, args: process.getuid() === 0 ? [...flags, "--no-sandbox"] : flags });
    } catch (err) {
      if (left === 0 || !/signal=SIG(SEGV|ABRT|ILL|TRAP|BUS)/.test(err.message)) throw err;
      console.log(`the browser crashed while it started (${err.message.match(/signal=(\w+)/)[1]}); starting it again`);
    }
  }
}

/** Desktop in both themes, and a phone. */
export const screens = [
  ["light", { viewport: { width: 1280, height: 860 }, colorScheme: "light" }],
  ["dark", { viewport: { width: 1280, height: 860 }, colorScheme: "dark" }],
  ["phone", { viewport: { width: 390, height: 844 }, colorScheme: "light", isMobile: true, hasTouch: true }],
];
export const desktop = screens[0][1];

const patience = 60_000; // ms for a condition; much longer than on a machine that does nothing else
const poll = 50; // ms

/** Waits until an asynchronous condition returns something, which it returns. */
export async function until(what, condition) {
  for (const end = Date.now() + patience; ; await new Promise((done) => setTimeout(done, poll))) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`did not happen within ${patience / 1000} s: ${what}`);
  }
}

let failures = 0;

/** Reports whether something holds that must hold. */
export function want(what, holds, detail = "") {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}${holds || !detail ? "" : ": " + detail}`);
  if (!holds) failures++;
}
export const failed = () => failures;

/**
 * Opens a page that notes everything that must not happen, in trouble and in its own variables. Messages on the console that match
 * expected are not noted: they may come at any time, for example each time that the page tries again.
 */
export async function openPage(browser, base, context = desktop, expected = /(?!)/) {
  const page = await (await browser.newContext(context)).newPage();
  page.setDefaultTimeout(patience);
  const trouble = [];
  page.on("console", (m) => { if ((m.type() === "error" && !expected.test(m.text())) || /Refused to|Content Security Policy/.test(m.text())) trouble.push("console: " + m.text()); });
  page.on("pageerror", (e) => trouble.push("script error: " + e.message));
  page.on("dialog", (d) => { trouble.push("dialog: " + d.message()); void d.dismiss(); });
  page.on("request", (r) => { if (/^https?:/.test(r.url()) && !r.url().startsWith(base + "/")) trouble.push("request to elsewhere: " + r.url()); });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI));
    window.shift = 0;
    window.shifted = [];
    new PerformanceObserver((list) => {
      for (const e of list.getEntries()) {
        if (e.hadRecentInput) continue;
        window.shift += e.value;
        for (const s of e.sources) window.shifted.push(`${s.node?.nodeName}.${s.node?.className ?? ""} ${Math.round(s.previousRect.y)}→${Math.round(s.currentRect.y)}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
  });
  return { page, trouble, close: () => page.context().close() };
}

/** Loads an address from nothing, also if only the part after the # differs, and waits until the view has all of its figures. */
export async function load(page, address, there) {
  await page.goto("about:blank");
  await page.goto(address);
  await page.waitForSelector(there);
  await complete(page);
}

/** Waits until everything that was changed is painted. */
export const painted = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Waits until a view has all of its figures and charts. */
export async function complete(page) {
  await page.waitForFunction(() => !/Loading…|Reading the books…/.test(document.querySelector("main").textContent) && !document.querySelector("main .waiting")
    && [...document.querySelectorAll("main .chart .plot")].every((plot) => plot.querySelector("canvas")));
  await painted(page);
}

/** Waits for a number of updates of a view: for the responses of a path of the API, and until they are painted. */
export async function updates(page, count, path = "/api/v1/paths") {
  for (let i = 0; i < count; i++) await page.waitForResponse((r) => new URL(r.url()).pathname === path && r.ok());
  await painted(page);
}

/** Wants a view without anything that must never happen, without a finding of axe-core, and no wider than the screen. */
export async function inspect(name, page, trouble) {
  const state = await page.evaluate(() => ({
    broken: Boolean(window.broken), violations: window.violations, wide: document.documentElement.scrollWidth - window.innerWidth,
  }));
  await page.evaluate(axe);
  const findings = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations
    .map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join("; ")}`));
  want(`${name}: no script of a stranger ran`, !state.broken && !trouble.some((t) => t.startsWith("dialog")));
  want(`${name}: no policy violation`, state.violations.length === 0, state.violations.join(", "));
  want(`${name}: no error, no request to elsewhere`, trouble.length === 0, trouble.join(" | "));
  want(`${name}: axe-core finds nothing`, findings.length === 0, findings.join(" | "));
  want(`${name}: nothing wider than the screen`, state.wide <= 0, `${state.wide} px`);
  trouble.length = 0;
}

/** Wants that nothing moved by itself since the page was loaded. */
export async function still(name, page) {
  const { shift, shifted } = await page.evaluate(() => ({ shift: window.shift, shifted: window.shifted }));
  want(`${name}: the layout stays where it is`, shift < 0.05, `${shift}: ${shifted.join(", ")}`);
}
