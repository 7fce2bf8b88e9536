-- What fails: paths with errors, the kind of error, on how many instances, since when and until when. The data is as new as the archive:
-- about archive.after (1h) old. Needs the events.
SELECT service, row_host AS host, row_method AS method, url_template AS path, http_response_status_code AS status, error_type,
       count() AS errors, uniqExact(instance) AS instances, any(instance) AS for_example, min(ts) AS first, max(ts) AS last
FROM wayside.events FINAL WHERE {{events}} AND kind != 'drop' AND ({{is error}})
GROUP BY service, host, method, path, status, error_type ORDER BY errors DESC, service, path, status LIMIT {{limit}}
