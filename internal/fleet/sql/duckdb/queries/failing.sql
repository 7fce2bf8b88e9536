-- What fails: paths with errors, the kind of error, on how many instances, since when and until when. The data is as new as the archive:
-- about archive.after (1h) old.
SELECT service, row_host AS host, row_method AS method, url_template AS path, http_response_status_code AS status, error_type,
       count(*) AS errors, count(DISTINCT instance) AS instances, any_value(instance) AS for_example, min(ts) AS first, max(ts) AS last
FROM wayside.events WHERE {{days}} AND {{events}} AND kind <> 'drop' AND ({{is error}})
GROUP BY ALL ORDER BY errors DESC, service, path, status LIMIT {{limit}}
