-- Objects, bytes and what they cost in S3, at list prices of 2026: 0.023 $ per GB and month, 0.005 $ per 1,000 PUT, 0.0004 $ per 1,000 GET.
-- Each object is written once and read back once; wayside lists only after a store was lost.
SELECT service, uniqExact(instance) AS instances, count() AS objects, sum(o.events_bytes) AS events_bytes, sum(o.statistics_bytes) AS statistics_bytes,
       sum(arraySum(arrayMap(r -> r.2 - r.1 + 1, if(empty(runs), [(first_seq, last_seq)], arrayMap(r -> (r.1, r.2), runs))))) AS events,
       round(sum(o.events_bytes) / events, 1) AS bytes_per_event, round(objects / (dateDiff('hour', min(hour), max(hour)) + 1) * 24) AS objects_per_day,
       round((events_bytes + statistics_bytes) / 1e9 * 0.023, 4) AS dollars_stored_per_month,
       round(objects_per_day * 30 * 2 * (0.005 + 0.0004) / 1000, 2) AS dollars_requests_per_month
FROM wayside.objects AS o FINAL WHERE {{hours}}
GROUP BY service ORDER BY events_bytes DESC, service
