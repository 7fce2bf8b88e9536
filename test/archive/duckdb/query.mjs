// Runs statements on DuckDB: {"name": "SQL", …} as JSON on standard input, {"version": …, "name": [rows], …} on standard output.
import { DuckDBInstance } from '@duckdb/node-api';
import { readFileSync } from 'node:fs';

const statements = JSON.parse(readFileSync(0, 'utf8'));
const connection = await (await DuckDBInstance.create(':memory:')).connect();
const answer = { version: (await connection.runAndReadAll('SELECT version() AS v')).getRowObjectsJson()[0].v };
for (const [name, sql] of Object.entries(statements)) {
  answer[name] = (await connection.runAndReadAll(sql)).getRowObjectsJson();
}
process.stdout.write(JSON.stringify(answer));
