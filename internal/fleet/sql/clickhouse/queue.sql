-- Ingestion 1: S3Queue. ClickHouse watches the bucket itself and needs ClickHouse Keeper or ZooKeeper. Every server may run this; each file
-- is read by one of them. For a bucket with years in it, replace dt=* by a month, such as dt=2026-12-*: each poll lists what the pattern
-- matches, a request for 1,000 objects. tracked_files_limit must be larger than the number of objects that it matches; otherwise
-- ClickHouse forgets the oldest and reads them again, which changes nothing and costs time.
CREATE TABLE IF NOT EXISTS wayside.statistics_queue{{on cluster}}
(
    {{statistics columns}}
)
ENGINE = S3Queue(wayside_bucket, filename = 'v1/stats/dt=*/hour=*/*.ndjson.gz', format = 'JSONEachRow')
SETTINGS mode = 'unordered', keeper_path = '/wayside/queue/statistics', tracked_files_limit = 10000000,
         polling_min_timeout_ms = 10000, polling_max_timeout_ms = 60000;
CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.statistics_from_queue{{on cluster}} TO wayside.statistics_in AS
SELECT {{statistics names}}, _path AS path, _size AS size FROM wayside.statistics_queue;

CREATE TABLE IF NOT EXISTS wayside.events_queue{{on cluster}}
(
    {{events columns}}
)
ENGINE = S3Queue(wayside_bucket, filename = 'v1/dt=*/hour=*/*.ndjson.gz', format = 'JSONEachRow')
SETTINGS mode = 'unordered', keeper_path = '/wayside/queue/events', tracked_files_limit = 10000000,
         polling_min_timeout_ms = 10000, polling_max_timeout_ms = 60000;
CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.events_from_queue{{on cluster}} TO wayside.events_in AS
SELECT {{events names}}, _path AS path, _size AS size FROM wayside.events_queue;
