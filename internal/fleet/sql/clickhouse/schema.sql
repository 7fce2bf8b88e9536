-- wayside: the objects of a fleet in ClickHouse (25.1 or newer). Paste all of it; it changes nothing that exists already.
--
-- Exactly once: an object's name says which events it has, and no object ever changes. Each table has that name, or an event's epoch and
-- number, in its sorting key, and merges equal keys to one row. So an object that is read twice, read by two servers at once, or read again
-- after an interruption changes nothing. Query the tables with FINAL, as the queries of wayside do.

CREATE DATABASE IF NOT EXISTS wayside{{on cluster}};

-- Where the objects are. Without keys, the server's own role or environment is used. With keys, add:
--   , access_key_id = '…', secret_access_key = '…'
CREATE NAMED COLLECTION IF NOT EXISTS wayside_bucket{{on cluster}} AS url = '{{url}}';

-- Statistics of one path in one hour in one object. latency_bins: bin i counts latencies in [2^(i/32), 2^((i+1)/32)) microseconds; bins of
-- any rows can be added up (sumMap), then waysideQuantile gives any percentile, within 1.1 %. The columns are functions that give the same
-- result for the same row however often it is merged.
CREATE TABLE IF NOT EXISTS wayside.statistics{{local}}{{on cluster}}
(
    service LowCardinality(String),
    instance LowCardinality(String),
    hour DateTime('UTC'),
    server_address LowCardinality(String),
    http_request_method LowCardinality(String),
    url_template LowCardinality(String),
    route LowCardinality(String),
    epoch UUID,
    first_seq UInt64,
    last_seq UInt64,
    count SimpleAggregateFunction(max, UInt64),
    errors SimpleAggregateFunction(max, UInt64),
    streams SimpleAggregateFunction(max, UInt64),
    bytes_in SimpleAggregateFunction(max, UInt64),
    bytes_out SimpleAggregateFunction(max, UInt64),
    latency_us_sum SimpleAggregateFunction(max, UInt64),
    latency_us_max SimpleAggregateFunction(max, UInt64),
    latency_below_1us SimpleAggregateFunction(max, UInt64),
    latency_bins SimpleAggregateFunction(maxMap, Map(UInt16, UInt64)),
    status SimpleAggregateFunction(maxMap, Map(UInt16, UInt64)),
    error_types SimpleAggregateFunction(maxMap, Map(String, UInt64)),
    grpc SimpleAggregateFunction(maxMap, Map(Int16, UInt64))
)
ENGINE = {{engine AggregatingMergeTree statistics}}
PARTITION BY toYYYYMM(hour)
ORDER BY (service, hour, url_template, server_address, http_request_method, route, instance, epoch, first_seq, last_seq);

-- What each object has: exact sequence numbers, drop records, sizes.
CREATE TABLE IF NOT EXISTS wayside.objects{{local}}{{on cluster}}
(
    service LowCardinality(String),
    instance LowCardinality(String),
    hour DateTime('UTC'),
    epoch UUID,
    first_seq UInt64,
    last_seq UInt64,
    statistics_rows SimpleAggregateFunction(max, UInt64),
    statistics_bytes SimpleAggregateFunction(max, UInt64),
    events_bytes SimpleAggregateFunction(max, UInt64),
    runs SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(first UInt64, last UInt64))),
    drops SimpleAggregateFunction(groupUniqArrayArray, Array(Tuple(reason String, seq UInt64, responses UInt64))),
    ingested_at SimpleAggregateFunction(min, DateTime('UTC'))
)
ENGINE = {{engine AggregatingMergeTree objects}}
PARTITION BY toYYYYMM(hour)
ORDER BY (service, instance, epoch, hour, first_seq, last_seq);

-- Every response. row_host and row_method name the row of the statistics that counted it, with url_template.
CREATE TABLE IF NOT EXISTS wayside.events{{local}}{{on cluster}}
(
    service LowCardinality(String),
    instance LowCardinality(String),
    epoch UUID,
    seq UInt64 CODEC(Delta, ZSTD),
    ts DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    kind LowCardinality(String),
    http_request_method LowCardinality(String),
    url_path String CODEC(ZSTD),
    url_template LowCardinality(String),
    http_response_status_code UInt16,
    duration_us UInt64 CODEC(T64, ZSTD),
    ttfb_us UInt64 CODEC(T64, ZSTD),
    request_us UInt64 CODEC(T64, ZSTD),
    wait_us UInt64 CODEC(T64, ZSTD),
    http_request_body_size UInt64 CODEC(T64, ZSTD),
    http_response_body_size UInt64 CODEC(T64, ZSTD),
    server_address LowCardinality(String),
    upstream_address LowCardinality(String),
    network_protocol_version LowCardinality(String),
    tls_protocol_version LowCardinality(String),
    client_address String CODEC(ZSTD),
    trace_id String CODEC(ZSTD),
    request_id String CODEC(ZSTD),
    error_type LowCardinality(String),
    rpc_grpc_status_code Nullable(Int16),
    route LowCardinality(String),
    attempts UInt8 DEFAULT 1,
    row_host LowCardinality(String),
    row_method LowCardinality(String)
)
ENGINE = {{engine ReplacingMergeTree events}}
PARTITION BY toMonday(ts) -- by week, because an insert may touch at most 100 partitions, and the first one reads all of a bucket
ORDER BY (service, toStartOfHour(ts), url_template, epoch, seq)
-- Retention: a week is dropped when all of it is older. The bucket still has the events. To change it: ALTER TABLE … MODIFY TTL …
TTL toDateTime(ts) + INTERVAL 30 DAY SETTINGS ttl_only_drop_parts = 1;

-- Names of the files that a scheduled ingestion has finished, so that it does not read them again. It only saves work.
CREATE TABLE IF NOT EXISTS wayside.ingested{{local}}{{on cluster}} (file String, at DateTime DEFAULT now())
ENGINE = {{engine ReplacingMergeTree ingested}} ORDER BY file;
{{distributed}}
-- Files come in here, whichever way they are read. These tables store nothing.
CREATE TABLE IF NOT EXISTS wayside.statistics_in{{on cluster}}
(
    {{statistics columns}},
    path String,
    size UInt64
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.statistics_to_statistics{{on cluster}} TO wayside.statistics AS
SELECT service, instance, parseDateTimeBestEffort(extract(path, 'dt=([0-9-]+)') || ' ' || extract(path, 'hour=([0-9]+)') || ':00:00', 'UTC') AS hour, server_address, http_request_method, url_template, route, epoch,
       toUInt64(extract(path, '_([0-9]+)-[0-9]+[.]ndjson')) AS first_seq, toUInt64(extract(path, '-([0-9]+)[.]ndjson')) AS last_seq,
       count, errors, streams, bytes_in, bytes_out, latency_us_sum, latency_us_max, latency_below_1us,
       CAST(latency_bins, 'Map(UInt16, UInt64)') AS latency_bins, CAST(status, 'Map(UInt16, UInt64)') AS status,
       CAST(error_types, 'Map(String, UInt64)') AS error_types, CAST(grpc, 'Map(Int16, UInt64)') AS grpc
FROM wayside.statistics_in WHERE count > 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.statistics_to_objects{{on cluster}} TO wayside.objects AS
SELECT service, instance, parseDateTimeBestEffort(extract(path, 'dt=([0-9-]+)') || ' ' || extract(path, 'hour=([0-9]+)') || ':00:00', 'UTC') AS hour, epoch,
       toUInt64(extract(path, '_([0-9]+)-[0-9]+[.]ndjson')) AS first_seq, toUInt64(extract(path, '-([0-9]+)[.]ndjson')) AS last_seq,
       max(object.rows) AS statistics_rows, max(size) AS statistics_bytes, toUInt64(0) AS events_bytes,
       groupUniqArrayArray(object.runs) AS runs, groupUniqArrayArray(object.drops) AS drops, now() AS ingested_at
FROM wayside.statistics_in GROUP BY service, instance, hour, epoch, first_seq, last_seq;

CREATE TABLE IF NOT EXISTS wayside.events_in{{on cluster}}
(
    {{events columns}},
    path String,
    size UInt64
) ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.events_to_events{{on cluster}} TO wayside.events AS
SELECT service, instance, epoch, seq, parseDateTime64BestEffort(ts, 6, 'UTC') AS ts, kind, http_request_method, url_path, url_template,
       http_response_status_code, duration_us, ttfb_us, request_us, wait_us, http_request_body_size, http_response_body_size, server_address,
       upstream_address, network_protocol_version, tls_protocol_version, client_address, trace_id, request_id, error_type,
       rpc_grpc_status_code, route, coalesce(attempts, 1) AS attempts, coalesce(row_host, server_address) AS row_host, coalesce(row_method, http_request_method) AS row_method
FROM wayside.events_in;

CREATE MATERIALIZED VIEW IF NOT EXISTS wayside.events_to_objects{{on cluster}} TO wayside.objects AS
SELECT service, instance, parseDateTimeBestEffort(extract(path, 'dt=([0-9-]+)') || ' ' || extract(path, 'hour=([0-9]+)') || ':00:00', 'UTC') AS hour, epoch,
       toUInt64(extract(path, '_([0-9]+)-[0-9]+[.]ndjson')) AS first_seq, toUInt64(extract(path, '-([0-9]+)[.]ndjson')) AS last_seq,
       toUInt64(0) AS statistics_rows, toUInt64(0) AS statistics_bytes, max(size) AS events_bytes,
       emptyArray AS runs, groupUniqArrayIf((error_type, seq, dropped), kind = 'drop') AS drops, now() AS ingested_at
FROM (SELECT *, CAST([], 'Array(Tuple(first UInt64, last UInt64))') AS emptyArray FROM wayside.events_in)
GROUP BY service, instance, hour, epoch, first_seq, last_seq, emptyArray;

-- Minutes, computed from the events when they are asked for: WHERE minute >= … reads only that time.
CREATE VIEW IF NOT EXISTS wayside.minutes{{on cluster}} AS
SELECT toStartOfMinute(ts) AS minute, service, instance, row_host AS server_address, row_method AS http_request_method, url_template, route,
       count() AS count, countIf({{is error}}) AS errors, sum(http_request_body_size) AS bytes_in, sum(http_response_body_size) AS bytes_out
FROM wayside.events FINAL WHERE kind != 'drop'
GROUP BY minute, service, instance, server_address, http_request_method, url_template, route;

-- The latency in microseconds below which the share q of all responses lies, as wayside itself computes it. bins are bins that were added
-- up (sumMap), below the sum of latency_below_1us, most the largest latency_us_max.
CREATE FUNCTION IF NOT EXISTS waysideQuantile{{on cluster}} AS (q, bins, below, most) ->
    if(q * (arraySum(mapValues(bins)) + below - 1) < below, 0,
       least(most, toUInt64(floor(pow(2, arrayElement(mapKeys(mapSort(bins)),
           arrayFirstIndex(upto -> upto + below > q * (arraySum(mapValues(bins)) + below - 1), arrayCumSum(mapValues(mapSort(bins))))) / 32)
           * 2 * pow(2, 1 / 32) / (1 + pow(2, 1 / 32)) + 0.5))));

-- Roles with the least rights. Readers see the tables, not the bucket. The ingestion may read the bucket and write; nobody may delete.
CREATE ROLE IF NOT EXISTS wayside_reader{{on cluster}};
GRANT{{on cluster}} SELECT ON wayside.* TO wayside_reader;
CREATE ROLE IF NOT EXISTS wayside_ingest{{on cluster}};
GRANT{{on cluster}} INSERT ON wayside.* TO wayside_ingest;
GRANT{{on cluster}} SELECT ON wayside.* TO wayside_ingest;
GRANT{{on cluster}} CREATE TEMPORARY TABLE, S3 ON *.* TO wayside_ingest;
GRANT{{on cluster}} NAMED COLLECTION ON wayside_bucket TO wayside_ingest;
