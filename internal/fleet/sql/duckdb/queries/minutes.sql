-- Responses, errors and percentiles of each service by the minute, exactly, from the events.
SELECT date_trunc('minute', ts) AS minute, service, count(*) AS responses, count(*) FILTER ({{is error}}) AS errors,
       quantile_disc(CASE kind WHEN 'stream' THEN ttfb_us ELSE duration_us END, 0.5) AS p50_us,
       quantile_disc(CASE kind WHEN 'stream' THEN ttfb_us ELSE duration_us END, 0.99) AS p99_us
FROM wayside.events WHERE {{days}} AND {{events}} AND kind <> 'drop' GROUP BY ALL ORDER BY ALL
