-- The range (--from, --to) beside the same length of time before it, such as the hours since a deploy: what got slower or fails more?
WITH bins AS (
    SELECT service, http_request_method AS method, url_template AS path, hour >= {{from}} AS now, bin, sum(n)::UBIGINT AS n
    FROM wayside.latency WHERE hour >= {{before}} AND hour < {{to}}{{filters}} GROUP BY ALL
), sketches AS (
    SELECT service, method, path, now, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts FROM bins GROUP BY ALL
), sums AS (
    SELECT service, http_request_method AS method, url_template AS path, hour >= {{from}} AS now, sum(count)::UBIGINT AS responses,
           sum(errors)::UBIGINT AS errors, max(latency_us_max) AS max_us
    FROM wayside.statistics WHERE count > 0 AND hour >= {{before}} AND hour < {{to}}{{filters}} GROUP BY ALL
), sides AS (
    SELECT *, wayside.quantile(0.99, bins, counts, max_us) AS p99_us FROM sums JOIN sketches USING (service, method, path, now)
)
SELECT service, method, path, coalesce(sum(responses) FILTER (NOT now), 0)::UBIGINT AS responses_before, coalesce(sum(responses) FILTER (now), 0)::UBIGINT AS responses,
       round(100 * sum(errors) FILTER (NOT now) / sum(responses) FILTER (NOT now), 3) AS error_percent_before,
       round(100 * sum(errors) FILTER (now) / sum(responses) FILTER (now), 3) AS error_percent,
       max(p99_us) FILTER (NOT now) AS p99_us_before, max(p99_us) FILTER (now) AS p99_us
FROM sides GROUP BY service, method, path ORDER BY sum(responses) DESC, service, path, method LIMIT {{limit}}
