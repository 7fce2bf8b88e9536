// Takes the pictures of go run ./test/incident.
//
//	node incident.mjs BASE FOLDER
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, folder] = process.argv.slice(2);
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) {
  console.error("no Chromium: no pictures");
  process.exit(77);
}
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath, args: ["--disable-gpu", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])] });
const screens = [
  ["light", { viewport: { width: 1280, height: 860 }, colorScheme: "light" }],
  ["dark", { viewport: { width: 1280, height: 860 }, colorScheme: "dark" }],
  ["phone", { viewport: { width: 390, height: 844 }, colorScheme: "light", isMobile: true, hasTouch: true }],
];
try {
  for (const [name, context] of screens) {
    const page = await (await browser.newContext({ ...context, deviceScaleFactor: 2 })).newPage();
    await page.goto(base + "/");
    await page.waitForSelector(".failing li a");
    await page.waitForSelector("table.paths tbody a");
    await page.waitForTimeout(1200);
    await page.screenshot({ path: join(folder, `incident-home-${name}.png`) });
    await page.click(".failing li a");
    await page.waitForSelector(".statuses li");
    await page.waitForFunction(() => document.querySelectorAll("table.events").length === 3);
    await page.waitForTimeout(1200);
    await page.screenshot({ path: join(folder, `incident-path-${name}.png`), fullPage: true });
    await page.context().close();
  }
} finally {
  await browser.close();
}
