-- What fails: paths with errors, the kind of error, on how many instances, since when and until when. NOT TESTED on Athena.
SELECT service, coalesce(row_host, server_address) AS host, coalesce(row_method, http_request_method) AS method, url_template AS path,
       http_response_status_code AS status, error_type, count(*) AS errors, count(DISTINCT instance) AS instances, min(ts) AS first_seen, max(ts) AS last_seen
FROM wayside.events
WHERE {{athena hours}} AND kind <> 'drop'
  AND (http_response_status_code >= 500 OR error_type IS NOT NULL OR rpc_grpc_status_code IN (2, 4, 12, 13, 14, 15, 17))
GROUP BY service, coalesce(row_host, server_address), coalesce(row_method, http_request_method), url_template, http_response_status_code, error_type
ORDER BY errors DESC LIMIT {{limit}}
