-- Objects of which something is missing in these tables: rows of statistics, or events. Empty when the ingestion is complete. Events count
-- only while the tables keep them (30 days), and objects of versions that did not describe themselves are left out.
SELECT o.service AS service, o.instance AS instance, o.epoch AS epoch, o.hour AS hour, o.first_seq AS first, o.last_seq AS last,
       o.statistics_rows AS rows_in_object, s.n AS rows_here, arraySum(arrayMap(r -> r.2 - r.1 + 1, o.runs)) AS events_in_object, e.n AS events_here
FROM (SELECT * FROM wayside.objects FINAL WHERE {{hours}} AND notEmpty(runs)) AS o
LEFT JOIN (SELECT epoch, hour, first_seq, last_seq, count() AS n FROM wayside.statistics FINAL WHERE {{hours}} GROUP BY epoch, hour, first_seq, last_seq) AS s
    ON s.epoch = o.epoch AND s.hour = o.hour AND s.first_seq = o.first_seq AND s.last_seq = o.last_seq
LEFT JOIN (
    SELECT epoch, hour, first_seq, last_seq, count() AS n
    FROM (SELECT epoch, toStartOfHour(ts) AS hour, seq FROM wayside.events FINAL WHERE {{events}}) AS v
    JOIN (SELECT epoch, hour, first_seq, last_seq, arrayJoin(runs) AS run FROM wayside.objects FINAL WHERE {{hours}}) AS r
        ON v.epoch = r.epoch AND v.hour = r.hour
    WHERE v.seq >= r.run.1 AND v.seq <= r.run.2
    GROUP BY epoch, hour, first_seq, last_seq
) AS e ON e.epoch = o.epoch AND e.hour = o.hour AND e.first_seq = o.first_seq AND e.last_seq = o.last_seq
WHERE rows_here != rows_in_object OR events_here != events_in_object
ORDER BY hour, service, instance, epoch, first
