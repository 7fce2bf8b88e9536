// Takes the pictures of go run ./test/incident.
//
//	node incident.mjs BASE FOLDER
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { browserPath, complete, launch, screens } from "./browser.mjs";

const [base, folder] = process.argv.slice(2);
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
} finally {
  await browser.close();
}
