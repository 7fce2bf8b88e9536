// Strangers, and waysides that do not respond.
import { connect } from "node:net";
import { desktop, inspect, load, openPage, painted, screens, still, until, updates, want } from "../browser.mjs";
import { failingPaths } from "./views.mjs";
import { hostilePaths, sendHostile } from "./hostile.mjs";
import { ask, kill, startWithoutBooks } from "./servers.mjs";

const live = (page, text) => page.waitForFunction((t) => document.getElementById("live-text").textContent.startsWith(t), text);

/** Paths that would do something if they were taken for markup, script, style or a link. */
export async function hostile(browser, { base, listen }) {
  const answers = await sendHostile(listen);
  want("hostile requests are answered", answers === hostilePaths.length, `${answers} of ${hostilePaths.length}`);
  await until("all of them are in the books", async () => (await ask(base, "/api/v1/accounting")).applied >= hostilePaths.length);
  const { page, trouble, close } = await openPage(browser, base);
  await load(page, base + "/", "table.paths tbody a");
  await page.fill("#search", "window.broken"); // what stands behind it is taken for a value
  await page.waitForFunction(() => document.querySelectorAll("table.paths tbody a").length >= 20);
  const rows = await page.locator("table.paths tbody a").count();
  want("hostile rows are listed", rows >= 20, `${rows} rows`);
  await inspect("hostile paths listed", page, trouble);
  await load(page, base + "/#/events", "table.events tbody tr");
  const events = page.locator("table.events .path", { hasText: "window.broken" });
  while ((await events.count()) < 50 && (await page.locator("text=Load older events").isVisible())) {
    const all = await page.locator("table.events tbody tr").count();
    await page.click("text=Load older events");
    await page.waitForFunction((n) => document.querySelectorAll("table.events tbody tr").length > n || document.querySelector("main > div > p:last-child button")?.hidden, all);
  }
  const shown = await events.count();
  want("hostile events are shown as they were sent", shown >= 50, `${shown} events`);
  console.log(`     ${rows} hostile rows, ${shown} hostile events`);
  await inspect("hostile events", page, trouble);
  for (const path of [hostilePaths[0], hostilePaths[1], "javascript:alert(1)"]) {
    await load(page, `${base}/#/path?${new URLSearchParams({ path, method: "<b>", host: "<img src=x onerror=alert(1)>" })}`, ".title .path");
  }
  await inspect("hostile address", page, trouble);
  await close();
}

/** Sends one request, with the path as it is. */
function sendOne(listen, path) {
  const [host, port] = listen.split(":");
  return new Promise((done, fail) => {
    const socket = connect(Number(port), host, () => socket.write(`GET ${path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n`));
    socket.on("error", fail).on("data", () => {}).on("close", done);
  });
}

/** Letters that were sent as %XX are shown as letters. */
export async function otherLetters(browser, { base, listen }) {
  await sendOne(listen, "/stra%C3%9Fe");
  const { page, close } = await openPage(browser, base);
  await page.goto(base + "/#/?search=stra");
  await page.waitForSelector("table.paths tbody a .path");
  want("letters are shown as letters", (await page.textContent("table.paths tbody a .path")) === "/straße", await page.textContent("table.paths tbody a .path"));
  await close();
}

/** An answer that fails is shown and tried again. */
export async function failingAnswers(browser, { base }) {
  const { page, close } = await openPage(browser, base);
  await page.route("**/api/v1/paths*", (route) => route.fulfill({ status: 500, json: { error: "the store could not be read" } }));
  await page.goto(base + "/");
  await page.waitForSelector(".notice.bad:visible");
  want("an answer that fails is shown in words", (await page.innerText(".notice.bad")).startsWith("The store could not be read. Nothing can be shown yet; trying again."), await page.innerText(".notice.bad"));
  await page.unroute("**/api/v1/paths*");
  await page.waitForSelector("table.paths tbody a");
  await page.waitForFunction(() => document.querySelector(".notice.bad") === null);
  want("and tried again", true);
  await close();
}

/** The page of a wayside whose books process is away from the beginning, or for a while. */
export async function booksAway(browser, scratch, trusting) {
  const without = await startWithoutBooks(scratch);
  try {
    const { page, trouble, close } = await openPage(browser, without.base, desktop, /Failed to load resource.* 503 /);
    await page.goto(without.base + "/");
    await live(page, "Away since");
    await page.waitForSelector(".notice.bad:visible");
    want("the page loads while the books are away, and says so", (await page.textContent(".notice.bad")).includes("Nothing can be shown yet"));
    await inspect("books away", page, trouble);
    await close();
  } finally {
    await without.stop();
  }
  await sendOne(trusting.listen, "/a");
  for (const [screen, context] of screens.filter(([name]) => name !== "dark")) await awayForAWhile(browser, trusting, screen, context);
}

async function awayForAWhile(browser, trusting, screen, context) {
  const { page, close } = await openPage(browser, trusting.base, context);
  await failingPaths(page, []); // some hostile requests really fail
  await load(page, trusting.base + "/", "table.paths tbody a");
  await live(page, "Live");
  const rows = await page.locator("table.paths tbody a").count(), books = await trusting.books();
  await still(`${screen}: the home page`, page);
  process.kill(books, "SIGSTOP");
  try {
    await live(page, "Away since");
    await page.waitForSelector(".notice.bad:visible");
    want(`${screen}: the page says when the books go away, and keeps what it knew`, (await page.locator("table.paths tbody a").count()) === rows && (await page.innerText(".notice.bad")).includes("The figures are of"), await page.innerText(".notice.bad"));
    await still(`${screen}: the books went away`, page);
    want(`${screen}: nobody knows whether something is failing`, (await page.innerText(".failing h2")) === "State not known", await page.innerText(".failing"));
    const another = await page.context().newPage();
    await another.goto(trusting.base + "/");
    await live(another, "Away since");
    want(`${screen}: a new tab says it as well`, true);
    await another.close();
  } finally {
    process.kill(books, "SIGCONT");
  }
  await live(page, "Live");
  await updates(page, 1);
  want(`${screen}: and is live again by itself`, (await page.locator(".notice.bad:visible").count()) === 0);
  await still(`${screen}: the books came back`, page);
  await close();
}

export async function afterTheEnd(browser, base, demo) {
  const { page, close } = await openPage(browser, base, desktop);
  await load(page, base + "/", "table.paths tbody a");
  await kill(demo);
  await page.waitForSelector(".notice.bad:visible");
  await painted(page);
  want("it says when nobody answers", (await page.locator(".notice:visible").allTextContents()).join(" ").includes("cannot be reached"));
  want("and since when", (await page.textContent("#live-text")).startsWith("Away since"));
  want("and keeps what it knew", (await page.locator("table.paths tbody a").count()) > 5);
  await close();
}
