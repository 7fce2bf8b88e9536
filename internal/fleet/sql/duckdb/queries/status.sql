-- Responses by service, path and status code.
SELECT service, host, method, path, s.code AS status, sum(s.count)::UBIGINT AS responses
FROM (
    SELECT service, server_address AS host, http_request_method AS method, url_template AS path, unnest(status) AS s
    FROM wayside.statistics WHERE {{days}} AND {{hours}}
) GROUP BY ALL ORDER BY ALL
