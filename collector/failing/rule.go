package failing

import "math"

// Parameters of the rule in the package comment.
const (
	windowMinutes = 5 // length of the longest window, including the current minute
	usualHours    = 24
	usualGap      = 10 // number of most recent minutes that are not included in the usual figures

	chance    = 1e-8
	caution   = 2 // factor by which the usual probability is multiplied for the comparison with chance
	errorsMin = 4

	// If errors are usually rare, their number varies little more than chance explains, and a less strict bound is enough.
	rareShare  = 0.01
	rareChance = 1e-5

	slowResponsesMin = 20
	slowShare        = 0.05
	slowMinutesMin   = 3
	slowFactor       = 2
	slowMicrosMin    = 10_000
	slowDays         = 7
	slowUsualMin     = 100 // minimum number of responses for a usual latency

	recoveredShare  = 0.01
	recoveredChance = 0.01
)

// errorWindows are the windows in which errors are counted.
var errorWindows = []struct {
	minutes       int
	factor, least float64 // the share must be this many times the usual share, and at least this much
	more          float64 // … or this much above the usual share
}{
	{1, 10, 0.10, 0.50},
	{2, 10, 0.10, 0.50},
	{windowMinutes, 4, 0.02, 0.40},
}

// cell counts the responses of one row in one minute.
type cell struct {
	count, errors uint32
	slow          uint32 // responses that took at least as long as usual.slowMicros
}

// window holds the last few minutes of a row, oldest first. The last minute has not ended yet.
type window [windowMinutes]cell

// last adds up the last n minutes.
func (w *window) last(n int) (sum cell) {
	for _, c := range w[windowMinutes-n:] {
		sum.count += c.count
		sum.errors += c.errors
		sum.slow += c.slow
	}
	return sum
}

// usual holds the usual figures of a row.
type usual struct {
	count, errors uint64

	// The usual latency; p95 is 0 if it is unknown.
	p95        uint64 // µs
	slowMicros uint64 // a response that takes at least this long is slow
	timed      uint64 // number of responses from which the latency was computed
	slow       uint64 // number of slow ones among these
}

func share(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

// atMost returns an upper bound for the probability of a property. part is the number of responses that had the property, and all is the
// number of responses.
func atMost(part, all uint64) float64 {
	k := float64(part)
	return min((k+3*math.Sqrt(k+1)+3)/(float64(all)+100), 1)
}

// failing reports whether a row has more errors than its usual figures explain.
func failing(w *window, u *usual) bool {
	common := share(u.errors, u.count)
	for _, rule := range errorWindows {
		sum := w.last(rule.minutes)
		if sum.errors < errorsMin {
			continue
		}
		wanted := max(rule.least, min(rule.factor*common, common+rule.more))
		probability := atMost(u.errors, u.count)
		if share(uint64(sum.errors), uint64(sum.count)) >= wanted && improbable(sum.errors, sum.count, probability, errorBound(probability)) {
			return true
		}
	}
	return false
}

// slower reports whether a row is slower than its usual figures explain.
func slower(w *window, u *usual) bool {
	sum := w.last(windowMinutes)
	if u.p95 == 0 || sum.count < slowResponsesMin || float64(sum.slow) < slowShare*float64(sum.count) {
		return false
	}
	minutes := 0
	for _, c := range w {
		if c.slow > 0 && float64(c.slow) >= slowShare*float64(c.count) {
			minutes++
		}
	}
	return minutes >= slowMinutesMin && improbable(sum.slow, sum.count, atMost(u.slow, u.timed), chance)
}

// More reports whether the share part/all is higher than chance explains, given the usual share usualPart/usualAll. It uses the bound
// of the rule. A caller must also check whether the difference is large enough to matter.
func More(part, all, usualPart, usualAll uint64) bool {
	return tail(part, all, caution*atMost(usualPart, usualAll)) < chance
}

// improbable reports whether chance does not explain that as many as part out of all responses have a property, if each response has it
// with at most the given probability. Chance explains everything that happens with a probability of at least bound.
func improbable(part, all uint32, probability, bound float64) bool {
	return tail(uint64(part), uint64(all), caution*probability) < bound
}

// errorBound returns the bound for a number of errors, given their usual probability.
func errorBound(probability float64) float64 {
	if probability < rareShare {
		return rareChance
	}
	return chance
}

// recovered reports whether an incident is over. pick chooses errors or slow responses, during is their share during the incident, and
// common is their usual share.
func recovered(w *window, pick func(cell) uint32, during, common float64) bool {
	below := max(2*common, recoveredShare)
	short, long := w.last(2), w.last(windowMinutes)
	if share(uint64(pick(long)), uint64(long.count)) < below {
		return true
	}
	return share(uint64(pick(short)), uint64(short.count)) < below && short.count > 0 &&
		1-tail(uint64(pick(short))+1, uint64(short.count), during) < recoveredChance
}

// tail returns the probability that at least k of n responses have a property, if each response has it with probability p. The result is
// exact to about nine digits on both sides of the mean.
func tail(k, n uint64, p float64) float64 {
	switch {
	case k == 0 || p >= 1:
		return 1
	case k > n || p <= 0:
		return 0
	case float64(k) <= float64(n)*p: // fewer terms are on the other side
		return 1 - sumOf(k-1, n, p, -1)
	}
	return sumOf(k, n, p, 1)
}

// sumOf adds up the probabilities that exactly i of n responses have the property. It starts with i = k and continues in the direction in
// which these probabilities decrease.
func sumOf(k, n uint64, p float64, direction int) float64 {
	i, all := float64(k), float64(n)
	term := math.Exp(logGamma(all+1) - logGamma(i+1) - logGamma(all-i+1) + i*math.Log(p) + (all-i)*math.Log1p(-p))
	sum := term
	for term > sum*1e-12 && i >= 0 && i <= all {
		if direction > 0 {
			term *= (all - i) / (i + 1) * p / (1 - p)
			i++
		} else {
			term *= i / (all - i + 1) * (1 - p) / p
			i--
		}
		sum += term
	}
	return min(sum, 1)
}

func logGamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}
