// Runs statements on ClickHouse in one session, one after another: a JSON line {"sql": …} on standard input gives a JSON line
// {"rows": [...]} or {"error": …} on standard output. Arguments: data folder, configuration file.
import { Session } from 'chdb';
import { createInterface } from 'node:readline';

const [path, config] = process.argv.slice(2);
const session = new Session(path, { connectionArgs: [`--config-file=${config}`, '--output_format_json_quote_64bit_integers=0'] });
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const out = session.query(JSON.parse(line).sql, 'JSONEachRow');
    answer = { rows: String(out).split('\n').filter(Boolean).map((row) => JSON.parse(row)) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
session.close();
