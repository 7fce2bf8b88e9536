-- wayside: the objects of a fleet as external tables of Athena. NOT TESTED on Athena, which exists only in AWS: the grammar of these
-- statements is checked. dt and hour are partitions that Athena computes, so no crawler is needed. Always limit dt: it limits what is read.
CREATE DATABASE IF NOT EXISTS wayside;

CREATE EXTERNAL TABLE IF NOT EXISTS wayside.statistics (
  server_address string, http_request_method string, url_template string, route string, `count` bigint, errors bigint, streams bigint,
  bytes_in bigint, bytes_out bigint, latency_us_sum bigint, latency_us_max bigint, status array<struct<code:int,`count`:bigint>>,
  error_types array<struct<`type`:string,`count`:bigint>>, grpc array<struct<code:int,`count`:bigint>>, latency_below_1us bigint,
  latency_bins array<struct<bin:int,`count`:bigint>>,
  object struct<`rows`:bigint,runs:array<struct<`first`:bigint,`last`:bigint>>,drops:array<struct<reason:string,seq:bigint,responses:bigint>>>,
  service string, instance string, epoch string)
PARTITIONED BY (dt string, hour string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION '{{url}}/v1/stats/'
TBLPROPERTIES ('projection.enabled' = 'true', 'projection.dt.type' = 'date', 'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW', 'projection.hour.type' = 'integer', 'projection.hour.range' = '0,23', 'projection.hour.digits' = '2',
  'storage.location.template' = '{{url}}/v1/stats/dt=${dt}/hour=${hour}/');

CREATE EXTERNAL TABLE IF NOT EXISTS wayside.events (
  event_id string, ts string, http_request_method string, url_path string, url_template string, http_response_status_code int,
  duration_us bigint, ttfb_us bigint, request_us bigint, wait_us bigint, http_request_body_size bigint, http_response_body_size bigint,
  server_address string, upstream_address string, network_protocol_version string, tls_protocol_version string, client_address string,
  trace_id string, request_id string, row_host string, row_method string, error_type string, kind string, rpc_grpc_status_code int,
  route string, attempts int, dropped bigint, service string, instance string, epoch string, seq bigint)
PARTITIONED BY (dt string, hour string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION '{{url}}/v1/'
TBLPROPERTIES ('projection.enabled' = 'true', 'projection.dt.type' = 'date', 'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2026-01-01,NOW', 'projection.hour.type' = 'integer', 'projection.hour.range' = '0,23', 'projection.hour.digits' = '2',
  'storage.location.template' = '{{url}}/v1/dt=${dt}/hour=${hour}/');
