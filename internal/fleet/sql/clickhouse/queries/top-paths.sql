-- The paths with the most responses, over all services and instances, with percentiles of all of them together.
SELECT service, server_address AS host, http_request_method AS method, url_template AS path,
       sum(s.count) AS responses, sum(s.errors) AS errors, round(100 * sum(s.errors) / sum(s.count), 3) AS error_percent, uniqExact(instance) AS instances,
       waysideQuantile(0.5, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p50_us,
       waysideQuantile(0.99, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p99_us, sum(s.bytes_out) AS bytes_out
FROM wayside.statistics AS s FINAL WHERE {{hours}}
GROUP BY service, host, method, path ORDER BY responses DESC, service, path, method, host LIMIT {{limit}}
