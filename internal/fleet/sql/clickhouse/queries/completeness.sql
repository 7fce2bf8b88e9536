-- Is anything missing? Each life of an instance (epoch) numbers its events from 1. missing: numbers that no object has. explained: events
-- that wayside itself reported as lost later, in drop records (damaged, age). left: must be 0; otherwise gaps says which numbers are
-- missing, and behind which hour: look for the object, or for files in the instance's quarantine/. not_recorded: responses that never got a
-- number (the spool was full). repeated: events in two objects, from a data directory that was restored from a backup. Events after the
-- last object of an epoch cannot be seen from here: see the query silent.
WITH runs AS (
    SELECT service, instance, epoch, hour, arrayJoin(if(empty(runs), [(first_seq, last_seq)], arrayMap(r -> (r.1, r.2), runs))) AS run
    FROM wayside.objects FINAL WHERE true{{filters}}
), ordered AS (
    SELECT service, instance, epoch, hour, run.1 AS first, run.2 AS last,
           max(run.2) OVER (PARTITION BY epoch ORDER BY run.1, run.2 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
           max(hour) OVER (PARTITION BY epoch ORDER BY run.1, run.2 ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS hour_before
    FROM runs
), epochs AS (
    SELECT service, instance, epoch, min(hour) AS first_hour, max(hour) AS last_hour, sum(last - first + 1) AS numbers,
           sum(if(first > before + 1, first - before - 1, 0)) AS missing,
           sum(if(first <= before, least(last, before) - first + 1, 0)) AS repeated,
           groupArrayIf(concat(toString(before + 1), '-', toString(first - 1), if(before = 0, ' at the start of ', ' behind '), formatDateTime(if(before = 0, hour, hour_before), '%Y-%m-%dT%H:00Z')), first > before + 1) AS gaps
    FROM ordered GROUP BY service, instance, epoch
), drops AS (
    SELECT epoch, sumIf(responses, reason IN ('damaged', 'age')) AS lost_later, sumIf(responses, reason NOT IN ('damaged', 'age')) AS not_recorded
    FROM (SELECT epoch, d.1 AS reason, argMax(d.3, d.2) AS responses FROM wayside.objects FINAL ARRAY JOIN drops AS d GROUP BY epoch, reason)
    GROUP BY epoch
)
SELECT service, instance, epoch, first_hour, last_hour, numbers - repeated AS events, missing, least(missing, lost_later) AS explained,
       missing - least(missing, lost_later) AS left, not_recorded, repeated, if(missing > lost_later, arraySlice(gaps, 1, 20), []) AS gaps
FROM epochs LEFT JOIN drops USING (epoch)
ORDER BY left DESC, repeated DESC, missing DESC, not_recorded DESC, service, instance, epoch
