-- Percentiles of each path over all instances and hours of the range, within 1.1 %. Change the names in the first two lines as you like.
WITH bins AS (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, bin, sum(n)::UBIGINT AS n
    FROM wayside.latency WHERE {{days}} AND {{hours}} GROUP BY ALL
), sketches AS (
    SELECT service, host, method, path, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts FROM bins GROUP BY ALL
), sums AS (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, sum(count)::UBIGINT AS responses,
           max(latency_us_max) AS max_us, (sum(latency_us_sum) // sum(count))::UBIGINT AS mean_us
    FROM wayside.statistics WHERE count > 0 AND {{days}} AND {{hours}} GROUP BY ALL
)
SELECT service, host, method, path, responses, wayside.quantile(0.5, bins, counts, max_us) AS p50_us, wayside.quantile(0.9, bins, counts, max_us) AS p90_us,
       wayside.quantile(0.95, bins, counts, max_us) AS p95_us, wayside.quantile(0.99, bins, counts, max_us) AS p99_us, max_us, mean_us
FROM sums JOIN sketches USING (service, host, method, path) ORDER BY p99_us DESC, service, path, method, host
