-- Objects and events of each service. Bytes need a listing of the bucket: aws s3 ls --summarize, or wayside archive ls --bucket.
SELECT service, count(DISTINCT instance) AS instances, count(*) AS objects,
       sum(list_sum(list_transform(runs, lambda r: r."last" - r."first" + 1)))::UBIGINT AS events,
       round(24.0 * count(*) / (date_diff('hour', min(hour), max(hour)) + 1)) AS objects_per_day,
       round(24.0 * count(*) / (date_diff('hour', min(hour), max(hour)) + 1) * 30 * 2 * (0.005 + 0.0004) / 1000, 2) AS dollars_requests_per_month
FROM wayside.objects WHERE {{days}} AND {{hours}} GROUP BY ALL ORDER BY events DESC, service
