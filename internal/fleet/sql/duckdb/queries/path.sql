-- One path (--path) on each instance: is it slow or failing everywhere, or on one of them?
WITH bins AS (
    SELECT service, instance, http_request_method AS method, url_template AS path, bin, sum(n)::UBIGINT AS n
    FROM wayside.latency WHERE {{days}} AND {{hours}} AND url_template = {{path}} GROUP BY ALL
), sketches AS (
    SELECT service, instance, method, path, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts FROM bins GROUP BY ALL
), sums AS (
    SELECT service, instance, http_request_method AS method, url_template AS path, sum(count)::UBIGINT AS responses, sum(errors)::UBIGINT AS errors,
           max(latency_us_max) AS max_us
    FROM wayside.statistics WHERE count > 0 AND {{days}} AND {{hours}} AND url_template = {{path}} GROUP BY ALL
)
SELECT service, instance, method, path, responses, errors, wayside.quantile(0.5, bins, counts, max_us) AS p50_us,
       wayside.quantile(0.95, bins, counts, max_us) AS p95_us, wayside.quantile(0.99, bins, counts, max_us) AS p99_us, max_us
FROM sums JOIN sketches USING (service, instance, method, path) ORDER BY p99_us DESC, service, instance, method
