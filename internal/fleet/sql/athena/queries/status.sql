-- Responses by service, path and status code. NOT TESTED on Athena.
SELECT service, server_address AS host, http_request_method AS method, url_template AS path, s.code AS status, sum(s."count") AS responses
FROM wayside.statistics CROSS JOIN UNNEST(status) AS t (s) WHERE {{athena hours}}
GROUP BY service, server_address, http_request_method, url_template, s.code ORDER BY 1, 2, 3, 4, 5
