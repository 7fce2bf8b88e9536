// Runs statements on DuckDB in one connection, one after another: a JSON line {"sql": …} on standard input gives a JSON line
// {"rows": [...]} or {"error": …} on standard output.
import { DuckDBInstance } from '@duckdb/node-api';
import { createInterface } from 'node:readline';

const connection = await (await DuckDBInstance.create(':memory:')).connect();
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { rows: (await connection.runAndReadAll(JSON.parse(line).sql)).getRowObjectsJson() };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
