// A picture of what a terminal shows.
import { readFileSync } from "node:fs";

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

/** Takes a picture of the screen in a file, which contains the escape sequences for its colors. */
export async function terminalPicture(browser, file, picture) {
  const page = await (await browser.newContext({ viewport: { width: 1200, height: 500 }, deviceScaleFactor: 2 })).newPage();
  await page.setContent(`<pre style="display:inline-block;margin:0;padding:16px 20px;background:#10161c;color:#d7dde4;font:13px/1.35 'DejaVu Sans Mono',monospace">${asHTML(readFileSync(file, "utf8").trimEnd())}</pre>`);
  await page.locator("pre").screenshot({ path: picture });
  await page.context().close();
}
