-- Responses that were answered and not recorded, by reason. They are in no other figure.
SELECT service, instance, reason, sum(responses) AS responses
FROM (
    SELECT service, instance, epoch, d.1 AS reason, argMax(d.3, d.2) AS responses
    FROM wayside.objects FINAL ARRAY JOIN drops AS d WHERE true{{filters}} GROUP BY service, instance, epoch, reason
) GROUP BY service, instance, reason HAVING responses > 0 ORDER BY responses DESC, service, instance, reason
