// Takes the pictures of go run ./test/incident -week, which the README shows.
//
//	node week.mjs BASE FOLDER TERMINAL REPORT FROM TO
//
// TERMINAL is a file with the screen of wayside top, as a terminal shows it, and REPORT is one with the report of the week as HTML; FROM and
// TO are the range around the incident.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { browserPath, launch, load, screens } from "./browser.mjs";
import { terminalPicture } from "./terminal.mjs";

const [base, folder, terminal, report, from, to] = process.argv.slice(2);
if (!browserPath) {
  console.error("no Chromium: no pictures");
  process.exit(77);
}

mkdirSync(folder, { recursive: true });
const path = "path=%2Fcheckout&method=POST&host=shop.example", around = `range=custom&from=${from}&to=${to}`;
const views = [
  ["home", "#/?range=7d", "table.paths tbody a"], ["day", "#/", "table.paths tbody a"], ["compare", "#/?range=24h&compare=1", ".delta"],
  ["path", `#/path?${path}&range=7d`, ".statuses li"], ["zoomed", `#/path?${path}&${around}`, ".statuses li"],
  ["changes", `#/changes?${around}&against=yesterday`, "table.changes"], ["events", `#/events?${path}&${around}&first=failed`, "table.events tbody tr"],
  ["books", "#/books", ".findings li"],
];
const browser = await launch();
try {
  for (const [screen, context] of screens) {
    const page = await (await browser.newContext({ ...context, deviceScaleFactor: 2 })).newPage();
    for (const [name, hash, there] of views) {
      await load(page, `${base}/${hash}`, there);
      await page.screenshot({ path: join(folder, `week-${name}-${screen}.png`) });
      await page.screenshot({ path: join(folder, `week-${name}-${screen}-whole.png`), fullPage: true });
    }
    await page.goto("file://" + report);
    await page.screenshot({ path: join(folder, `week-report-${screen}-whole.png`), fullPage: true });
    await page.context().close();
  }
  await terminalPicture(browser, terminal, join(folder, "top.png"));
} finally {
  await browser.close();
}
