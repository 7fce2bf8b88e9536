-- Instances with objects in the range, but none in its last three hours. NOT TESTED on Athena.
SELECT service, instance, max(dt || ' ' || hour) AS last_hour, count(DISTINCT epoch) AS epochs
FROM wayside.statistics WHERE {{athena hours}}
GROUP BY service, instance
HAVING max(dt || ' ' || hour) < date_format({{to}} - INTERVAL '4' HOUR, '%Y-%m-%d %H') ORDER BY last_hour, service, instance
