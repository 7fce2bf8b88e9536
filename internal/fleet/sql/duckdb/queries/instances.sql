-- Each instance: responses, errors, latency, restarts.
WITH bins AS (
    SELECT service, instance, bin, sum(n)::UBIGINT AS n FROM wayside.latency WHERE {{days}} AND {{hours}} GROUP BY ALL
), sketches AS (
    SELECT service, instance, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts FROM bins GROUP BY ALL
), sums AS (
    SELECT service, instance, sum(count)::UBIGINT AS responses, sum(errors)::UBIGINT AS errors, sum(bytes_out)::UBIGINT AS bytes_out,
           count(DISTINCT epoch) AS epochs, max(hour) AS last_hour, max(latency_us_max) AS max_us
    FROM wayside.statistics WHERE count > 0 AND {{days}} AND {{hours}} GROUP BY ALL
)
SELECT service, instance, responses, errors, bytes_out, epochs, last_hour, wayside.quantile(0.99, bins, counts, max_us) AS p99_us
FROM sums JOIN sketches USING (service, instance) ORDER BY responses DESC, service, instance
