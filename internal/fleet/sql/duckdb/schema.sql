-- wayside: the objects of a fleet as views of DuckDB, for one desk. Nothing is copied: each query reads the objects of the days it needs.
-- Objects do not change, and each is read once, so every figure is exact. For S3, run this first:
--   INSTALL httpfs; LOAD httpfs;
--   CREATE SECRET (TYPE s3, PROVIDER credential_chain, REGION 'eu-central-1');
-- To ask often, copy what you need: CREATE TABLE day AS FROM wayside.events WHERE dt = '2026-11-29'.
CREATE SCHEMA IF NOT EXISTS wayside;

-- Statistics of one path in one hour in one object. latency_bins: bin i counts latencies in [2^(i/32), 2^((i+1)/32)) microseconds.
CREATE OR REPLACE VIEW wayside.statistics AS
SELECT dt, dt::TIMESTAMP + to_hours(hour) AS hour, coalesce(service, '') AS service, coalesce(instance, '') AS instance, epoch,
       regexp_extract(filename, '_([0-9]+)-[0-9]+[.]ndjson', 1)::UBIGINT AS first_seq, regexp_extract(filename, '-([0-9]+)[.]ndjson', 1)::UBIGINT AS last_seq,
       coalesce(server_address, '') AS server_address, coalesce(http_request_method, '') AS http_request_method, coalesce(url_template, '') AS url_template,
       coalesce(route, '') AS route, count, errors, streams, bytes_in, bytes_out, latency_us_sum, latency_us_max, latency_below_1us,
       latency_bins, status, error_types, grpc, object
FROM read_json('{{url}}/v1/stats/dt=*/hour=*/*.ndjson.gz', format = 'newline_delimited', hive_partitioning = true,
    hive_types = {dt: DATE, hour: BIGINT}, filename = true, maximum_object_size = 16777216, columns = {
    server_address: 'VARCHAR', http_request_method: 'VARCHAR', url_template: 'VARCHAR', route: 'VARCHAR', count: 'UBIGINT', errors: 'UBIGINT',
    streams: 'UBIGINT', bytes_in: 'UBIGINT', bytes_out: 'UBIGINT', latency_us_sum: 'UBIGINT', latency_us_max: 'UBIGINT',
    status: 'STRUCT(code USMALLINT, count UBIGINT)[]', error_types: 'STRUCT("type" VARCHAR, count UBIGINT)[]',
    grpc: 'STRUCT(code SMALLINT, count UBIGINT)[]', latency_below_1us: 'UBIGINT', latency_bins: 'STRUCT(bin INTEGER, count UBIGINT)[]',
    object: 'STRUCT("rows" UBIGINT, runs STRUCT("first" UBIGINT, "last" UBIGINT)[], drops STRUCT(reason VARCHAR, seq UBIGINT, responses UBIGINT)[])',
    service: 'VARCHAR', instance: 'VARCHAR', epoch: 'UUID'});

-- What each object has: exact sequence numbers and drop records. Objects of older versions do not say: their runs are the bounds in the name.
CREATE OR REPLACE VIEW wayside.objects AS
SELECT dt, hour, service, instance, epoch, first_seq, last_seq, max(object."rows") AS statistics_rows,
       coalesce(any_value(object.runs) FILTER (object IS NOT NULL), [{'first': first_seq, 'last': last_seq}]) AS runs,
       coalesce(any_value(object.drops) FILTER (object IS NOT NULL), []) AS drops
FROM wayside.statistics GROUP BY dt, hour, service, instance, epoch, first_seq, last_seq;

-- Every response, and the drop records (kind = 'drop'). row_host and row_method name the row of the statistics that counted it.
CREATE OR REPLACE VIEW wayside.events AS
SELECT dt, ts, service, instance, epoch, seq, kind, coalesce(http_request_method, '') AS http_request_method, coalesce(url_path, '') AS url_path,
       coalesce(url_template, '') AS url_template, http_response_status_code, duration_us, ttfb_us, coalesce(request_us, 0) AS request_us,
       coalesce(wait_us, 0) AS wait_us, http_request_body_size, http_response_body_size, coalesce(server_address, '') AS server_address,
       upstream_address, network_protocol_version, tls_protocol_version, client_address, trace_id, request_id, coalesce(error_type, '') AS error_type,
       rpc_grpc_status_code, coalesce(route, '') AS route, coalesce(attempts, 1) AS attempts,
       coalesce(row_host, server_address, '') AS row_host, coalesce(row_method, http_request_method, '') AS row_method, dropped, event_id
FROM read_json('{{url}}/v1/dt=*/hour=*/*.ndjson.gz', format = 'newline_delimited', hive_partitioning = true,
    hive_types = {dt: DATE, hour: BIGINT}, columns = {
    event_id: 'UUID', ts: 'TIMESTAMP', http_request_method: 'VARCHAR', url_path: 'VARCHAR', url_template: 'VARCHAR',
    http_response_status_code: 'USMALLINT', duration_us: 'UBIGINT', ttfb_us: 'UBIGINT', request_us: 'UBIGINT', wait_us: 'UBIGINT',
    http_request_body_size: 'UBIGINT', http_response_body_size: 'UBIGINT', server_address: 'VARCHAR', upstream_address: 'VARCHAR',
    network_protocol_version: 'VARCHAR', tls_protocol_version: 'VARCHAR', client_address: 'VARCHAR', trace_id: 'VARCHAR', request_id: 'VARCHAR',
    row_host: 'VARCHAR', row_method: 'VARCHAR', error_type: 'VARCHAR', kind: 'VARCHAR', rpc_grpc_status_code: 'SMALLINT', route: 'VARCHAR',
    attempts: 'UTINYINT', dropped: 'UBIGINT', service: 'VARCHAR', instance: 'VARCHAR', epoch: 'UUID', seq: 'UBIGINT'});

-- One row for each bin of the sketches; bin -1 counts latencies below one microsecond. Add up n by bin, then quantile gives any percentile.
CREATE OR REPLACE VIEW wayside.latency AS
SELECT dt, hour, service, instance, server_address, http_request_method, url_template, route, b.bin AS bin, b.count AS n
FROM (SELECT *, unnest(list_append(latency_bins, {'bin': -1, 'count': latency_below_1us})) AS b FROM wayside.statistics) WHERE b.count > 0;

-- The latency in microseconds below which the share q of all responses lies, as wayside itself computes it. bins must ascend.
CREATE OR REPLACE MACRO wayside.quantile(q, bins, counts, most) AS (
    CASE WHEN len(bins) = 0 THEN 0 ELSE
    least(most, (CASE WHEN bins[1 + len(list_filter(range(1, len(bins) + 1), lambda i: list_sum(counts[1:i]) <= q * (list_sum(counts) - 1)))] < 0 THEN 0
         ELSE floor(pow(2, bins[1 + len(list_filter(range(1, len(bins) + 1), lambda i: list_sum(counts[1:i]) <= q * (list_sum(counts) - 1)))] / 32.0)
              * 2 * pow(2, 1 / 32.0) / (1 + pow(2, 1 / 32.0)) + 0.5) END)::UBIGINT) END);
