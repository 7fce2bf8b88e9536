-- Each instance: responses, errors, latency, restarts.
SELECT service, instance, sum(s.count) AS responses, sum(s.errors) AS errors, sum(s.bytes_out) AS bytes_out, uniqExact(epoch) AS epochs, max(hour) AS last_hour,
       waysideQuantile(0.99, sumMap(latency_bins), sum(latency_below_1us), max(s.latency_us_max)) AS p99_us
FROM wayside.statistics AS s FINAL WHERE {{hours}}
GROUP BY service, instance ORDER BY responses DESC, service, instance
