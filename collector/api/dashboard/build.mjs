// Builds the dashboard: src → internal/dashboard/static, which is committed, so that building wayside needs Go and nothing else.
// With --check it builds into memory, compares with what is committed, and fails if the two differ.
import { build } from "esbuild";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const notice = "/* wayside dashboard, Apache-2.0. Contains uPlot 1.6.32, (c) Leon Sorokin, MIT. Built: edit dashboard/src instead. */";
const check = process.argv.includes("--check");

const result = await build({
  entryPoints: { app: here("src/main.ts"), style: here("src/style.css") },
  bundle: true, minify: true, charset: "utf8", target: ["es2022"], format: "iife",
  banner: { js: notice, css: notice }, legalComments: "none",
  outdir: here("../../../internal/dashboard/static"), write: false,
});
let differ = false;
for (const file of [...result.outputFiles, { path: here("../../../internal/dashboard/static/index.html"), text: await readFile(here("src/index.html"), "utf8") }]) {
  if (!check) {
    await writeFile(file.path, file.text);
    continue;
  }
  if ((await readFile(file.path, "utf8").catch(() => "")) !== file.text) {
    console.error(`${file.path} is not what dashboard/src builds to: run make dashboard`);
    differ = true;
  }
}
process.exit(differ ? 1 : 0);
