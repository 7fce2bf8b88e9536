-- Responses, errors and percentiles of each service by the minute, from the events.
SELECT minute, service, sum(n) AS responses, sum(failed) AS errors,
       waysideQuantile(0.5, mapFromArrays(groupArrayIf(bin, bin >= 0), groupArrayIf(n, bin >= 0)), sumIf(n, bin < 0), max(most)) AS p50_us,
       waysideQuantile(0.99, mapFromArrays(groupArrayIf(bin, bin >= 0), groupArrayIf(n, bin >= 0)), sumIf(n, bin < 0), max(most)) AS p99_us
FROM (
    SELECT toStartOfMinute(ts) AS minute, service, if({{latency}} = 0, -1, toInt16(least(1279, floor(log2({{latency}}) * 32)))) AS bin,
           count() AS n, countIf({{is error}}) AS failed, max({{latency}}) AS most
    FROM wayside.events FINAL WHERE {{events}} AND kind != 'drop' GROUP BY minute, service, bin
) GROUP BY minute, service ORDER BY minute, service
