// Checks the grammar of statements: [{"grammar": "trino" or "hive", "sql": …}, …] as JSON on standard input, the list of errors on standard
// output. It does not know the tables, so names and types are not checked.
import { readFileSync } from 'node:fs';
import { register } from 'node:module';

// The package is written for bundlers, which add extensions to the names of imported files. Node does not.
register('data:text/javascript,' + encodeURIComponent(`
export async function resolve(name, context, next) {
  for (const end of name.startsWith('.') && !name.endsWith('.js') ? ['.js', '/index.js'] : ['']) {
    try { return await next(name + end, context); } catch {}
  }
  return next(name, context);
}
export async function load(url, context, next) {
  return next(url, url.includes('/dt-sql-parser/') ? { ...context, format: 'module' } : context);
}`));
const { HiveSQL, TrinoSQL } = await import('dt-sql-parser');

const parsers = { trino: new TrinoSQL(), hive: new HiveSQL() };
const errors = [];
for (const { grammar, sql } of JSON.parse(readFileSync(0, 'utf8'))) {
  for (const e of parsers[grammar].validate(sql)) {
    errors.push(`${sql.slice(0, 60)}: line ${e.startLine}, column ${e.startColumn}: ${e.message}`);
  }
}
process.stdout.write(JSON.stringify(errors));
