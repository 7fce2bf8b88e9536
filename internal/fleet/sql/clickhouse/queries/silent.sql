-- Instances with objects in the range, but none in its last three hours. They have no traffic, are gone, or cannot reach the bucket.
SELECT service, instance, max(hour) AS last_hour, dateDiff('hour', last_hour, {{to}}) AS hours_silent, uniqExact(epoch) AS epochs, count() AS objects
FROM wayside.objects FINAL WHERE {{hours}}
GROUP BY service, instance HAVING last_hour < {{to}} - INTERVAL 4 HOUR ORDER BY last_hour, service, instance
