-- Instances with objects in the range, but none in its last three hours. They have no traffic, are gone, or cannot reach the bucket.
SELECT service, instance, max(hour) AS last_hour, date_diff('hour', max(hour), {{to}}) AS hours_silent, count(DISTINCT epoch) AS epochs, count(*) AS objects
FROM wayside.objects WHERE {{days}} AND {{hours}}
GROUP BY ALL HAVING max(hour) < {{to}} - INTERVAL 4 HOUR ORDER BY last_hour, service, instance
