-- The paths with the most responses, over all services and instances. NOT TESTED on Athena.
SELECT service, server_address AS host, http_request_method AS method, url_template AS path, sum("count") AS responses, sum(errors) AS errors,
       round(100.0 * sum(errors) / sum("count"), 3) AS error_percent, count(DISTINCT instance) AS instances, max(latency_us_max) AS max_us
FROM wayside.statistics WHERE {{athena hours}} AND "count" > 0
GROUP BY service, server_address, http_request_method, url_template ORDER BY responses DESC, service, path, method, host LIMIT {{limit}}
