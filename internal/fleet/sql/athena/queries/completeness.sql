-- Is anything missing? missing: numbers of an epoch that no object has. explained: reported as lost in drop records. left: must be 0.
-- Objects of versions that did not describe themselves count as missing. NOT TESTED on Athena.
WITH ordered AS (
    SELECT service, instance, epoch, r."first" AS lo, r."last" AS hi,
           coalesce(max(r."last") OVER (PARTITION BY epoch ORDER BY r."first", r."last" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM wayside.statistics CROSS JOIN UNNEST(object.runs) AS t (r) WHERE true{{filters}}
), epochs AS (
    SELECT service, instance, epoch, sum(hi - lo + 1) AS numbers, sum(CASE WHEN lo > before + 1 THEN lo - before - 1 ELSE 0 END) AS missing,
           sum(CASE WHEN lo <= before THEN least(hi, before) - lo + 1 ELSE 0 END) AS repeated
    FROM ordered GROUP BY service, instance, epoch
), drops AS (
    SELECT epoch, sum(CASE WHEN reason IN ('damaged', 'age') THEN responses ELSE 0 END) AS lost_later,
           sum(CASE WHEN reason IN ('damaged', 'age') THEN 0 ELSE responses END) AS not_recorded
    FROM (SELECT epoch, d.reason AS reason, max_by(d.responses, d.seq) AS responses
          FROM wayside.statistics CROSS JOIN UNNEST(object.drops) AS t (d) GROUP BY epoch, d.reason) GROUP BY epoch
)
SELECT service, instance, epochs.epoch, numbers - repeated AS events, missing, least(missing, coalesce(lost_later, 0)) AS explained,
       missing - least(missing, coalesce(lost_later, 0)) AS "left", coalesce(not_recorded, 0) AS not_recorded, repeated
FROM epochs LEFT JOIN drops ON drops.epoch = epochs.epoch ORDER BY 7 DESC, repeated DESC, missing DESC, service, instance
