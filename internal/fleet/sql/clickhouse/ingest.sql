-- Ingestion 2, without S3Queue: run these statements every few minutes in one session, for example from cron:
--   wayside fleet sql clickhouse --bucket … --part ingest | clickhouse-client --user … --multiquery
-- They read at most 20,000 files that are not finished. If they are interrupted, or two run at once, files are read again, which changes
-- nothing. A file counts as finished when the statement that reads it has succeeded.
CREATE TEMPORARY TABLE wayside_chosen AS
SELECT _file AS file FROM s3(wayside_bucket, filename = 'v1/stats/dt=*/hour=*/*.ndjson.gz', format = 'One', structure = 'x UInt8')
WHERE concat('statistics ', _file) NOT IN (SELECT file FROM wayside.ingested) ORDER BY _path LIMIT 20000;
INSERT INTO wayside.statistics_in ({{statistics names}}, path, size)
SELECT {{statistics names}}, _path, _size
FROM s3(wayside_bucket, filename = 'v1/stats/dt=*/hour=*/*.ndjson.gz', format = 'JSONEachRow',
    structure = '{{statistics columns}}')
WHERE _file IN (SELECT file FROM wayside_chosen);
INSERT INTO wayside.ingested (file) SELECT concat('statistics ', file) FROM wayside_chosen;
DROP TEMPORARY TABLE wayside_chosen;

CREATE TEMPORARY TABLE wayside_chosen AS
SELECT _file AS file FROM s3(wayside_bucket, filename = 'v1/dt=*/hour=*/*.ndjson.gz', format = 'One', structure = 'x UInt8')
WHERE concat('events ', _file) NOT IN (SELECT file FROM wayside.ingested) ORDER BY _path LIMIT 20000;
INSERT INTO wayside.events_in ({{events names}}, path, size)
SELECT {{events names}}, _path, _size
FROM s3(wayside_bucket, filename = 'v1/dt=*/hour=*/*.ndjson.gz', format = 'JSONEachRow',
    structure = '{{events columns}}')
WHERE _file IN (SELECT file FROM wayside_chosen);
INSERT INTO wayside.ingested (file) SELECT concat('events ', file) FROM wayside_chosen;
DROP TEMPORARY TABLE wayside_chosen;
