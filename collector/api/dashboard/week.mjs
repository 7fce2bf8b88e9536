// Takes the pictures of go run ./test/incident -week, which the README shows.
//
//	node week.mjs BASE FOLDER TERMINAL FROM TO
//
// TERMINAL is a file with the screen of wayside top, as a terminal shows it; FROM and TO are the range around the incident.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { browserPath, complete, launch, screens } from "./browser.mjs";

const [base, folder, terminal, from, to] = process.argv.slice(2);
if (!browserPath) {
  console.error("no Chromium: no pictures");
  process.exit(77);
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const sgr = { 1: "font-weight:700", 2: "opacity:.6", 7: "background:#d7dde4;color:#10161c", 31: "color:#ff8f84", 32: "color:#7fd6a0", 33: "color:#efc56b", 36: "color:#6fc9d8" };

/** Text with the colors of a terminal as HTML. */
function asHTML(text) {
  let styles = [], out = "";
  for (const part of text.split(/(\x1b\[[0-9;]*m)/)) {
    const code = /^\x1b\[([0-9;]*)m$/.exec(part);
    if (!code) {
      out += part === "" ? "" : `<span style="${styles.join(";")}">${escaped(part)}</span>`;
      continue;
    }
    for (const one of code[1].split(";")) styles = one === "" || one === "0" ? [] : sgr[one] ? [...styles, sgr[one]] : styles.filter((s) => !(one === "39" && s.startsWith("color")) && !(one === "22" && /weight|opacity/.test(s)) && !(one === "27" && s.startsWith("background")));
  }
  return out;
}

mkdirSync(folder, { recursive: true });
const path = "path=%2Fcheckout&method=POST&host=shop.example";
const views = [
  ["home", "#/?range=7d", "table.paths tbody a"], ["path", `#/path?${path}&range=7d`, ".statuses li"],
  ["zoomed", `#/path?${path}&range=custom&from=${from}&to=${to}`, ".statuses li"],
];
const browser = await launch();
try {
  for (const [screen, context] of screens) {
    const page = await (await browser.newContext({ ...context, deviceScaleFactor: 2 })).newPage();
    for (const [name, hash, there] of views) {
      await page.goto(base + "/" + hash);
      await page.waitForSelector(there);
      await complete(page);
      await page.screenshot({ path: join(folder, `week-${name}-${screen}.png`) });
      await page.screenshot({ path: join(folder, `week-${name}-${screen}-whole.png`), fullPage: true });
    }
    await page.context().close();
  }
  const page = await (await browser.newContext({ viewport: { width: 1100, height: 400 }, deviceScaleFactor: 2 })).newPage();
  await page.setContent(`<pre style="display:inline-block;margin:0;padding:16px 20px;background:#10161c;color:#d7dde4;font:13px/1.35 'DejaVu Sans Mono',monospace">${asHTML(readFileSync(terminal, "utf8").trimEnd())}</pre>`);
  await page.locator("pre").screenshot({ path: join(folder, "top.png") });
} finally {
  await browser.close();
}
