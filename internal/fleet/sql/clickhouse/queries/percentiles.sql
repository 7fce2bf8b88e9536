-- Percentiles of each path over all instances and hours of the range, within 1.1 %. Change GROUP BY as you like: bins add up.
SELECT service, server_address AS host, http_request_method AS method, url_template AS path, sum(s.count) AS responses,
       waysideQuantile(0.5, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p50_us,
       waysideQuantile(0.9, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p90_us,
       waysideQuantile(0.95, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p95_us,
       waysideQuantile(0.99, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p99_us,
       max(s.latency_us_max) AS max_us, intDiv(sum(s.latency_us_sum), sum(s.count)) AS mean_us
FROM wayside.statistics AS s FINAL WHERE {{hours}}
GROUP BY service, host, method, path ORDER BY p99_us DESC, service, path, method, host
