// Runs statements on ClickHouse: {"name": "SQL", …} as JSON on standard input, {"version": …, "name": [rows], …} on standard output.
import { query } from 'chdb';
import { readFileSync } from 'node:fs';

const rows = (sql) => query(sql, 'JSONEachRow').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const statements = JSON.parse(readFileSync(0, 'utf8'));
const answer = { version: rows('SELECT version() AS v')[0].v };
for (const [name, sql] of Object.entries(statements)) {
  answer[name] = rows(sql + '\nSETTINGS output_format_json_quote_64bit_integers = 1');
}
process.stdout.write(JSON.stringify(answer));
