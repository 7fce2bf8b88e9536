-- One path (--path) on each instance: is it slow or failing everywhere, or on one of them?
SELECT service, instance, http_request_method AS method, url_template AS path, sum(s.count) AS responses, sum(s.errors) AS errors,
       waysideQuantile(0.5, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p50_us,
       waysideQuantile(0.95, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p95_us,
       waysideQuantile(0.99, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p99_us,
       max(s.latency_us_max) AS max_us
FROM wayside.statistics AS s FINAL WHERE {{hours}} AND url_template = {{path}}
GROUP BY service, instance, method, path ORDER BY p99_us DESC, service, instance, method
