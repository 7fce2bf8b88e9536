-- Responses that were answered and not recorded, by reason. They are in no other figure.
SELECT service, instance, reason, sum(responses)::UBIGINT AS responses
FROM (
    SELECT service, instance, epoch, d.reason AS reason, arg_max(d.responses, d.seq) AS responses
    FROM (SELECT service, instance, epoch, unnest(drops) AS d FROM wayside.objects WHERE true{{filters}}) GROUP BY ALL
) GROUP BY ALL HAVING sum(responses) > 0 ORDER BY responses DESC, service, instance, reason
