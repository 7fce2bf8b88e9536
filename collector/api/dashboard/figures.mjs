// Reads the figures that the home page shows, for go run ./test/figures.
//
//	node figures.mjs BASE < RANGES
//
// RANGES has one range per line, as the part of an address after the "#". For each, a line of JSON is printed: the figures at the top by
// their names, and the rows of the table.
import { readFileSync } from "node:fs";
import { browserPath, desktop, launch } from "./browser.mjs";

const base = process.argv[2];
if (!browserPath) {
  console.error("no Chromium: the page was not read");
  process.exit(77);
}

/** Runs in the page. */
const shown = () => ({
  at: Date.now(),
  tiles: Object.fromEntries([...document.querySelectorAll(".tiles .tile")].map((t) => [t.querySelector("dt").textContent, t.querySelector("dd").firstChild.textContent])),
  rows: [...document.querySelectorAll("table.paths tbody tr")].filter((tr) => tr.querySelector(".path")).map((tr) => {
    const cell = (key) => tr.children[[...document.querySelectorAll("table.paths thead tr > *")].findIndex((th) => th.querySelector(`[data-key=${key}]`))];
    return {
      path: tr.querySelector(".path").title, requests: cell("count").textContent, rate: cell("rate").textContent,
      errors: cell("errors").querySelector("small")?.textContent ?? cell("errors").textContent,
    };
  }),
});

const browser = await launch();
try {
  const page = await (await browser.newContext(desktop)).newPage();
  page.setDefaultTimeout(60_000);
  for (const hash of readFileSync(0, "utf8").trim().split("\n")) {
    await page.goto("about:blank");
    await page.goto(`${base}/#${hash}`);
    await page.waitForSelector(".home:not(.first)");
    console.log(JSON.stringify(await page.evaluate(shown)));
  }
} finally {
  await browser.close();
}
