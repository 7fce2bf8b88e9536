-- The paths with the most responses, over all services and instances, with percentiles of all of them together.
WITH bins AS (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, bin, sum(n)::UBIGINT AS n
    FROM wayside.latency WHERE {{days}} AND {{hours}} GROUP BY ALL
), sketches AS (
    SELECT service, host, method, path, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts FROM bins GROUP BY ALL
), sums AS (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, sum(count)::UBIGINT AS responses,
           sum(errors)::UBIGINT AS errors, count(DISTINCT instance) AS instances, max(latency_us_max) AS max_us, sum(bytes_out)::UBIGINT AS bytes_out
    FROM wayside.statistics WHERE count > 0 AND {{days}} AND {{hours}} GROUP BY ALL
)
SELECT service, host, method, path, responses, errors, round(100 * errors / responses, 3) AS error_percent, instances,
       wayside.quantile(0.5, bins, counts, max_us) AS p50_us, wayside.quantile(0.99, bins, counts, max_us) AS p99_us, bytes_out
FROM sums JOIN sketches USING (service, host, method, path) ORDER BY responses DESC, service, path, method, host LIMIT {{limit}}
