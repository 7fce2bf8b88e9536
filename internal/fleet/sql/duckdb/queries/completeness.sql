-- Is anything missing? Each life of an instance (epoch) numbers its events from 1. missing: numbers that no object has. explained: events
-- that wayside itself reported as lost later, in drop records (damaged, age). left: must be 0; otherwise gaps says which numbers are
-- missing, and behind which hour: look for the object, or for files in the instance's quarantine/. not_recorded: responses that never got a
-- number (the spool was full). repeated: events in two objects, from a data directory that was restored from a backup. Events after the
-- last object of an epoch cannot be seen from here: see the query silent.
WITH ranges AS (
    SELECT service, instance, epoch, hour, unnest(runs) AS run FROM wayside.objects WHERE true{{filters}}
), ordered AS (
    SELECT service, instance, epoch, hour, run."first" AS lo, run."last" AS hi,
           coalesce(max(run."last") OVER w, 0) AS before, max(hour) OVER w AS hour_before
    FROM ranges WINDOW w AS (PARTITION BY epoch ORDER BY run."first", run."last" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), epochs AS (
    SELECT service, instance, epoch, min(hour) AS first_hour, max(hour) AS last_hour, sum(hi - lo + 1)::UBIGINT AS numbers,
           sum(CASE WHEN lo > before + 1 THEN lo - before - 1 ELSE 0 END)::UBIGINT AS missing,
           sum(CASE WHEN lo <= before THEN least(hi, before) - lo + 1 ELSE 0 END)::UBIGINT AS repeated,
           list((before + 1) || '-' || (lo - 1) || CASE WHEN before = 0 THEN ' at the start of ' || strftime(hour, '%Y-%m-%dT%H:00Z')
                ELSE ' behind ' || strftime(hour_before, '%Y-%m-%dT%H:00Z') END ORDER BY lo) FILTER (lo > before + 1) AS gaps
    FROM ordered GROUP BY ALL
), drops AS (
    SELECT epoch, coalesce(sum(responses) FILTER (reason IN ('damaged', 'age')), 0)::UBIGINT AS lost_later,
           coalesce(sum(responses) FILTER (reason NOT IN ('damaged', 'age')), 0)::UBIGINT AS not_recorded
    FROM (SELECT epoch, d.reason AS reason, arg_max(d.responses, d.seq) AS responses
          FROM (SELECT epoch, unnest(drops) AS d FROM wayside.objects) GROUP BY ALL) GROUP BY ALL
)
SELECT service, instance, epoch, first_hour, last_hour, numbers - repeated AS events, missing, least(missing, coalesce(lost_later, 0)) AS explained,
       missing - least(missing, coalesce(lost_later, 0)) AS "left", coalesce(not_recorded, 0) AS not_recorded, repeated,
       CASE WHEN missing > coalesce(lost_later, 0) THEN gaps[1:20] ELSE [] END AS gaps
FROM epochs LEFT JOIN drops USING (epoch)
ORDER BY "left" DESC, repeated DESC, missing DESC, not_recorded DESC, service, instance, epoch
