// Takes the pictures of go run ./test/incident.
//
//	node incident.mjs BASE FOLDER TERMINAL
//
// TERMINAL is a file with the screen of wayside top, as a terminal shows it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { browserPath, complete, launch, screens } from "./browser.mjs";
import { terminalPicture } from "./terminal.mjs";

const [base, folder, terminal] = process.argv.slice(2);
if (!browserPath) {
  console.error("no Chromium: no pictures");
  process.exit(77);
}
mkdirSync(folder, { recursive: true });
const browser = await launch();
try {
  for (const [name, context] of screens) {
    const page = await (await browser.newContext({ ...context, deviceScaleFactor: 2 })).newPage();
    await page.goto(base + "/");
    await page.waitForSelector(".failing li a");
    await complete(page);
    await page.screenshot({ path: join(folder, `incident-home-${name}.png`) });
    await page.click(".failing li a");
    await page.waitForSelector(".statuses li");
    await complete(page);
    await page.screenshot({ path: join(folder, `incident-path-${name}.png`), fullPage: true });
    await page.context().close();
  }
  await terminalPicture(browser, terminal, join(folder, "incident-top.png"));
} finally {
  await browser.close();
}
