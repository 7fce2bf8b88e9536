// Drives the dashboard in a real Chromium on real demo traffic, hostile paths included.
//
//   node drive.mjs [--shots DIR] [--hours N] [--only GROUP,…]
//
// It wants: every view in both themes and on a phone without a script error, a policy violation, a request to anywhere else, a finding of
// axe-core, anything that moves by itself, or anything wider than the screen; updates that come by themselves and undo nothing; everything
// that can be used, with the pointer and with the keyboard alone; words instead of figures where there are none; and not one hostile path
// that did anything. Each is a line. The exit code is 1 if one of them fails, 77 if there is no browser.
//
// Nothing is tried twice, and nothing waits for a fixed time: each step waits for a condition.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { browserPath, failed, launch, want } from "./browser.mjs";
import { afterTheEnd, booksAway, failingAnswers, hostile, otherLetters } from "./drive/faults.mjs";
import { incidentBegins, incidentsComeAndGo } from "./drive/incident.mjs";
import { keyboardOnly } from "./drive/keyboard.mjs";
import { build, kill, startDemo, startTrusting } from "./drive/servers.mjs";
import { announcements, duringUpdates, eightTabs, pressBeforeResponse, selectionAndScroll } from "./drive/updates.mjs";
import { heatMap, namedRanges, timeZones, toRequests, using, watching } from "./drive/using.mjs";
import { everyView, fromGrafana, printed } from "./drive/views.mjs";

const option = (name, otherwise) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise);
const shots = option("--shots", "");

if (!browserPath) {
  console.error("SKIPPED: no Chromium: NO browser looked at the dashboard");
  process.exit(77);
}
const scratch = mkdtempSync(join(tmpdir(), "wayside-drive-"));
build(scratch);
const { demo, admin } = await startDemo(scratch, Number(option("--hours", "5")), shots ? 300 : 100);
const trusting = await startTrusting(scratch);
const browser = await launch();
const groups = {
  everyView: () => everyView(browser, admin, shots), printed: () => printed(browser, admin), fromGrafana: () => fromGrafana(browser, admin),
  using: () => using(browser, admin), watching: () => watching(browser, admin), toRequests: () => toRequests(browser, admin), heatMap: () => heatMap(browser, admin),
  timeZones: () => timeZones(browser, admin), keyboardOnly: () => keyboardOnly(browser, admin), duringUpdates: () => duringUpdates(browser, admin),
  pressBeforeResponse: () => pressBeforeResponse(browser, admin), selectionAndScroll: () => selectionAndScroll(browser, admin), announcements: () => announcements(browser, admin), incidentsComeAndGo: () => incidentsComeAndGo(browser, admin),
  incidentBegins: () => incidentBegins(browser, scratch), eightTabs: () => eightTabs(browser, admin),
  hostile: () => hostile(browser, trusting), otherLetters: () => otherLetters(browser, trusting), failingAnswers: () => failingAnswers(browser, trusting),
  namedRanges: () => namedRanges(browser, scratch, trusting.base, trusting.data), booksAway: () => booksAway(browser, scratch, trusting), afterTheEnd: () => afterTheEnd(browser, admin, demo),
};
const only = option("--only", "");
try {
  for (const [name, group] of Object.entries(groups)) {
    if (only && !only.split(",").includes(name)) continue;
    console.log(`--- ${name}, ${Math.round(process.uptime())} s`);
    try {
      await group();
    } catch (err) { // what the pages show says more than the condition that did not come true
      want(name, false, err.message);
      for (const page of browser.contexts().flatMap((c) => c.pages())) {
        console.log(`     ${page.url()}\n${(await page.innerText("body").catch(String)).slice(0, 2000).replace(/^/gm, "     | ")}`);
      }
      for (const context of browser.contexts()) await context.close();
    }
  }
} finally {
  await browser.close();
  await kill(demo);
  await trusting.stop();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}
console.log(`${Math.round(process.uptime())} s`);
console.log(failed() === 0 ? "the dashboard holds" : `${failed()} FAILED`);
process.exit(failed() === 0 ? 0 : 1);
