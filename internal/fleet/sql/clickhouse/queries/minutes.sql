-- Responses, errors and percentiles of each service by the minute, from the events.
SELECT minute, service, sum(m.count) AS responses, sum(m.errors) AS errors,
       waysideQuantile(0.5, mapFilter((bin, n) -> bin >= 0, sumMap(latency_bins)), sumMap(latency_bins)[-1], max(m.latency_us_max)) AS p50_us,
       waysideQuantile(0.99, mapFilter((bin, n) -> bin >= 0, sumMap(latency_bins)), sumMap(latency_bins)[-1], max(m.latency_us_max)) AS p99_us
FROM wayside.minutes AS m WHERE minute >= toStartOfMinute({{from}}) AND minute < {{to}}{{filters}}
GROUP BY minute, service ORDER BY minute, service
