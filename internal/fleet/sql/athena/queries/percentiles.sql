-- Percentiles of each path over all instances and hours of the range, within 1.1 %. NOT TESTED on Athena.
WITH bins AS (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, latency_us_max, b.bin AS bin, b."count" AS n
    FROM wayside.statistics CROSS JOIN UNNEST(latency_bins) AS t (b)
    WHERE {{athena hours}}
), merged AS (
    SELECT service, host, method, path, bin, sum(n) AS n, max(latency_us_max) AS max_us FROM bins GROUP BY service, host, method, path, bin
), ranked AS (
    SELECT *, sum(n) OVER (PARTITION BY service, host, method, path ORDER BY bin) AS upto,
           sum(n) OVER (PARTITION BY service, host, method, path) AS total, max(max_us) OVER (PARTITION BY service, host, method, path) AS most
    FROM merged
)
SELECT service, host, method, path, max(total) AS responses,
       least(CAST(floor(pow(2, min(bin) FILTER (WHERE upto > 0.50 * (total - 1)) / 32.0) * 2 * pow(2, 1 / 32.0) / (1 + pow(2, 1 / 32.0)) + 0.5) AS bigint), max(most)) AS p50_us,
       least(CAST(floor(pow(2, min(bin) FILTER (WHERE upto > 0.95 * (total - 1)) / 32.0) * 2 * pow(2, 1 / 32.0) / (1 + pow(2, 1 / 32.0)) + 0.5) AS bigint), max(most)) AS p95_us,
       least(CAST(floor(pow(2, min(bin) FILTER (WHERE upto > 0.99 * (total - 1)) / 32.0) * 2 * pow(2, 1 / 32.0) / (1 + pow(2, 1 / 32.0)) + 0.5) AS bigint), max(most)) AS p99_us
FROM ranked GROUP BY service, host, method, path ORDER BY p99_us DESC, service, path, method, host
