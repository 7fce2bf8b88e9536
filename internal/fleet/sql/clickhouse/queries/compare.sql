-- The range (--from, --to) beside the same length of time before it, such as the hours since a deploy: what got slower or fails more?
SELECT service, http_request_method AS method, url_template AS path,
       sumIf(s.count, hour < {{from}}) AS responses_before, sumIf(s.count, hour >= {{from}}) AS responses,
       round(100 * sumIf(s.errors, hour < {{from}}) / nullIf(responses_before, 0), 3) AS error_percent_before,
       round(100 * sumIf(s.errors, hour >= {{from}}) / nullIf(responses, 0), 3) AS error_percent,
       waysideQuantile(0.99, sumMapIf(latency_bins, hour < {{from}}), sumIf(latency_below_1us, hour < {{from}}), maxIf(s.latency_us_max, hour < {{from}})) AS p99_us_before,
       waysideQuantile(0.99, sumMapIf(latency_bins, hour >= {{from}}), sumIf(latency_below_1us, hour >= {{from}}), maxIf(s.latency_us_max, hour >= {{from}})) AS p99_us
FROM wayside.statistics AS s FINAL WHERE hour >= {{before}} AND hour < {{to}}{{filters}}
GROUP BY service, method, path ORDER BY responses + responses_before DESC, service, path, method LIMIT {{limit}}
