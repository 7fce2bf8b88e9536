// Package failing finds the paths that fail now, or are slower than usual: what somebody who opens the dashboard during an incident
// must see first.
//
// It reads the statistics by minute, which the books have anyway, every ten seconds, and only if responses were applied since. The drain
// loop does nothing for it. All figures come from the store, so a restart of the books process changes nothing but the moment
// at which the current incidents were first noticed.
//
// # The rule
//
// The usual of a path is the last 24 whole hours, and the minutes since then up to ten minutes ago. While a path is failing, its
// usual stays what it was before.
//
// A path is failing if, in the minute that runs, in the last two or in the last five minutes (the one that runs included):
//
//   - at least five responses are errors;
//   - their share is far above the usual: ten times as high and at least 10 %, or over five minutes four times and at least 2 %. A
//     path that usually has many errors needs 50 percentage points more, or 40, if that is less;
//   - and chance is no explanation: if each response failed with twice the usual probability, so many errors would be seen in less
//     than one of 10⁸ windows (the tail of the binomial distribution). The usual probability is taken from the upper end of what the
//     usual responses allow, (errors + 3√(errors+1) + 3) ÷ (responses + 100). So 6 % is assumed for a path that is new.
//
// A path is slower than usual if, in the last five minutes, at least twenty responses came and the share of slow ones is at least 5 %,
// in total and in three of the minutes, and chance is no explanation by the same bound. A response is slow if it took at least twice the
// usual p95, and at least 10 ms more. The usual p95 is that of the same three hours of the day (the previous, the current, the next) of the
// last seven days. If they have less than a hundred responses, it is that of the last 24 hours. A path with less has no usual latency.
//
// An incident begins with the first minute after which the share stays high. It ends when the share over the last five minutes is below
// twice the usual share, or below 1 % if that is more. It ends earlier if the share over the last two minutes is below that limit, and
// such a low share would be improbable during the incident.
//
// # False alarms
//
// While responses fail independently of each other, with at most twice their usual probability, each check of a window has a false
// alarm with a probability below 10⁻⁸. That is at most one in ten years for a path that is checked every ten seconds in all windows; a
// hundred paths have at most one in 38 days. Tests simulate days of noisy traffic.
//
// # Bounds
//
// A row of statistics needs about 150 bytes in memory. At most [IncidentsMax] incidents are kept; of more, those with the most errors.
package failing
