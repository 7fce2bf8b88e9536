// The waysides that are looked at: the demo with a history of some hours, and one in front of an application that answers everything.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../browser.mjs";

export const root = fileURLToPath(new URL("../../../../", import.meta.url));
export const binary = (scratch) => join(scratch, "wayside");

export function build(scratch) {
  const built = spawnSync("go", ["build", "-tags", "faults", "-o", binary(scratch), "./cmd/wayside"], { cwd: root, stdio: "inherit" });
  if (built.status !== 0) throw new Error("wayside cannot be built");
}

export const ask = (base, path) => fetch(base + path).then((r) => r.json());
const run = (file) => until("wayside has started", () => existsSync(file) && JSON.parse(readFileSync(file, "utf8")));

/** Kills a process and waits until it has ended. */
export async function kill(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
}

/** The demo, with its clock in the past and moved on hour by hour, so that there is a history to look at. */
export async function startDemo(scratch, hours, many) {
  const clock = join(scratch, "clock"), data = join(scratch, "data");
  writeFileSync(clock, `-${hours}h`);
  const demo = spawn(binary(scratch), ["demo", "--rate", "300", "--data", data], { env: { ...process.env, WAYSIDE_FAULT_CLOCK: clock }, stdio: "ignore" });
  const { admin } = await run(join(data, "run.json"));
  const responses = () => ask(admin, "/api/v1/accounting").then((a) => a.applied ?? 0, () => 0);
  for (let left = hours - 1, before = 0; left >= 0; left--) {
    const wanted = before + many * (1.3 + Math.sin(((left + 5) / 24) * 2 * Math.PI)); // more by day than by night
    before = await until(`the traffic of ${left} hours ago`, () => responses().then((n) => (n >= wanted ? n : 0)));
    writeFileSync(clock, left === 0 ? "0s" : `-${left}h`);
  }
  return { demo, admin };
}

/** A wayside before an application that answers everything, so that any path gets a row of its own. */
export async function startTrusting(scratch, name = "trusting", answer = (_, response) => response.end("ok")) {
  const app = createServer(answer);
  await new Promise((done) => app.listen(0, "127.0.0.1", done));
  const data = join(scratch, name);
  const wayside = spawn(binary(scratch), ["run", "--upstream", `http://127.0.0.1:${app.address().port}`, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data], { stdio: "ignore" });
  const { admin, listen, pid } = await run(join(data, "run.json"));
  const children = () => readdirSync(`/proc/${pid}/task`).flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number));
  const collects = (child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("\0collect\0");
  const stop = async () => {
    await kill(wayside);
    app.close();
  };
  return { base: admin, listen, data, books: () => until("the books process", () => children().find(collects)), stop };
}

/** A wayside without a books process. */
export async function startWithoutBooks(scratch) {
  const data = join(scratch, "away");
  const wayside = spawn(binary(scratch), ["run", "--no-collector", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data], { stdio: "ignore" });
  const { admin } = await run(join(data, "run.json"));
  return { base: admin, stop: () => kill(wayside) };
}
