-- Responses that were answered and not recorded, by reason. NOT TESTED on Athena.
SELECT service, instance, reason, sum(responses) AS responses
FROM (
    SELECT service, instance, epoch, d.reason AS reason, max_by(d.responses, d.seq) AS responses
    FROM wayside.statistics CROSS JOIN UNNEST(object.drops) AS t (d) WHERE true{{filters}}
    GROUP BY service, instance, epoch, d.reason
) GROUP BY service, instance, reason HAVING sum(responses) > 0 ORDER BY responses DESC, service, instance, reason
