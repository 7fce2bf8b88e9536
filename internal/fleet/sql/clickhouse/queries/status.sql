-- Responses by service, path and status code.
SELECT service, host, method, path, code.1 AS status, sum(code.2) AS responses
FROM (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, arrayJoin(CAST(s.status, 'Array(Tuple(UInt16, UInt64))')) AS code
    FROM wayside.statistics AS s FINAL WHERE {{hours}}
) GROUP BY service, host, method, path, status ORDER BY service, host, method, path, status
