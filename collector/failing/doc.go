// Package failing finds the paths that are currently failing or slower than usual. Anyone who opens the dashboard during an incident must
// see these paths first.
//
// Every five seconds, it reads the statistics per minute, which the books have anyway, but only if responses have been applied in the
// meantime. It adds no work to the drain loop. All figures come from the store, so a restart of the books process can change only one
// thing: the times at which current incidents were first noticed.
//
// # The rule
//
// The usual figures of a path are those of the last 24 whole hours, and of the minutes since then up to ten minutes ago. While a path is
// failing, its usual figures stay as they were before the incident.
//
// A path is failing if all of the following are true in the current minute, in the last two minutes or in the last five minutes (both
// including the current one):
//
//   - at least four responses are errors;
//   - their share is far above the usual share: ten times as high and at least 10 %, or, over five minutes, four times as high and at
//     least 2 %. For a path that usually has many errors, it is enough that the share is 50 percentage points higher, or, over five
//     minutes, 40;
//   - chance does not explain the errors: if each response failed with twice the usual probability, fewer than one in 10⁸ windows would
//     have at least this many errors (the tail of the binomial distribution). The usual probability is an upper bound derived from the
//     usual responses: (errors + 3√(errors+1) + 3) ÷ (responses + 100). For a new path, the bound is 6 %. If the usual probability is
//     below 1 %, fewer than one in 10⁵ windows is enough: the number of rare errors varies little more than chance explains.
//
// A path is slower than usual if all of the following are true of the last five minutes: there were at least twenty responses; the share
// of slow ones was at least 5 %, both in total and in at least three of the minutes taken separately; and chance does not explain this
// share, with the bound of one in 10⁸. A response is slow if it took at least twice the usual p95, and at least 10 ms longer than the
// usual p95. The usual p95 is that of the same three hours of the day (the previous, the current and the next one) on the last seven
// days. If there were fewer than a hundred responses in these hours, it is that of the last 24 hours. If there were fewer in those as
// well, the path has no usual latency.
//
// An incident begins with the first minute from which the share stays high. It ends when the share over the last five minutes is below
// twice the usual share or below 1 %, whichever limit is higher. It ends earlier if the share over the last two minutes is below that
// limit and such a low share would be improbable during the incident.
//
// # False alarms
//
// If responses fail independently of each other, with at most twice their usual probability, the probability that a check of a window
// gives a false alarm is below 10⁻⁸, or below 10⁻⁵ if errors are rare. In practice, false alarms are much rarer than the latter, because
// the usual probability is already an upper bound and is doubled. Tests simulate days of noisy traffic.
//
// # Bounds
//
// A row of statistics needs about 150 bytes in memory. At most [IncidentsMax] incidents are kept: those with the most errors.
package failing
