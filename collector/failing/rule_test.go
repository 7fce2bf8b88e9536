package failing

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// seeds is how many days of each kind are simulated, and a twentieth of how many incidents.
var seeds = flag.Uint64("seeds", 10, "simulations of each kind")

// TestTail compares the tail with sums of exact terms.
func TestTail(t *testing.T) {
	for _, n := range []uint64{1, 5, 24, 60, 170} {
		for _, p := range []float64{0.001, 0.05, 0.3, 0.9} {
			for k := uint64(0); k <= n; k++ {
				want, term := 0.0, math.Pow(1-p, float64(n))
				for i := uint64(0); i <= n; i++ {
					if i >= k {
						want += term
					}
					term *= float64(n-i) / float64(i+1) * p / (1 - p)
				}
				if got := tail(k, n, p); math.Abs(got-want) > 1e-9*want+1e-12 {
					t.Fatalf("P(X ≥ %d) of %d at %g is %g, want %g", k, n, p, got, want)
				}
			}
		}
	}
	if tail(3, 2, 0.5) != 0 || tail(1, 10, 0) != 0 || tail(1, 10, 1) != 1 {
		t.Error("edges")
	}
}

// traffic makes the responses of one path.
type traffic struct {
	random *rand.Rand
	rate   float64 // a second
	errors float64 // share
	slow   float64 // share
	noise  float64 // of rate and share from minute to minute: coefficient of variation
}

// poisson draws a number of events.
func poisson(r *rand.Rand, mean float64) (n int) {
	if mean > 50 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	for p, limit := r.Float64(), math.Exp(-mean); p > limit; n++ {
		p *= r.Float64()
	}
	return n
}

// factor draws a factor with mean 1 and the coefficient of variation of the noise.
func (m *traffic) factor() float64 {
	if m.noise == 0 {
		return 1
	}
	sigma := math.Sqrt(math.Log1p(m.noise * m.noise))
	return math.Exp(sigma*m.random.NormFloat64() - sigma*sigma/2)
}

// step is the time between two checks, in seconds.
const step = int(CheckInterval / time.Second)

// parts are the responses between the checks of a minute.
type parts [60 / step]cell

// minute draws the parts of a minute.
func (m *traffic) minute() (parts parts) {
	rate, failed, slow := m.rate*m.factor(), min(m.errors*m.factor(), 1), min(m.slow*m.factor(), 1)
	for i := range parts {
		for range poisson(m.random, rate*float64(step)) {
			parts[i].count++
			if m.random.Float64() < failed {
				parts[i].errors++
			}
			if m.random.Float64() < slow {
				parts[i].slow++
			}
		}
	}
	return parts
}

// usualOf draws the statistics of a day of traffic, from the same noise.
func (m *traffic) usualOf(hours int) *usual {
	u := &usual{p95: 20_000, slowMicros: 40_000}
	for range hours * 60 {
		for _, c := range m.minute() {
			u.count += uint64(c.count)
			u.errors += uint64(c.errors)
			u.slow += uint64(c.slow)
		}
	}
	u.timed = u.count
	return u
}

// play moves a window through some minutes, and calls fn at each check.
func play(minutes int, next func(minute int) parts, fn func(second int, w *window) bool) {
	var w window
	for m := range minutes {
		copy(w[:], w[1:])
		w[windowMinutes-1] = cell{}
		last := &w[windowMinutes-1]
		for i, part := range next(m) {
			last.count += part.count
			last.errors += part.errors
			last.slow += part.slow
			if !fn(m*60+(i+1)*step, &w) {
				return
			}
		}
	}
}

// TestNoFalseAlarm simulates days of steady noisy traffic: from one response in ten seconds to thirty a second, shares of errors up to 5 %, and both
// moving by half from minute to minute; and 20 % that move by a fifth.
func TestNoFalseAlarm(t *testing.T) {
	days, alarms := 0, 0
	for seed := range *seeds {
		for _, rate := range []float64{0.1, 0.4, 2, 10} {
			for _, errors := range []float64{0, 0.001, 0.01, 0.05, 0.2} {
				m := &traffic{random: rand.New(rand.NewPCG(seed, 17)), rate: rate, errors: errors, slow: 0.01, noise: 0.5}
				if errors > 0.1 {
					m.noise = 0.2
				}
				if rate >= 10 && seed%8 != 0 { // they take most of the time
					continue
				}
				u := m.usualOf(24)
				days++
				play(24*60, func(int) parts { return m.minute() }, func(second int, w *window) bool {
					if failing(w, u) || slower(w, u) {
						t.Errorf("seed %d, %g a second, %g errors: a false alarm after %d s: %+v, usual %+v", seed, rate, errors, second, *w, *u)
						alarms++
						return false
					}
					return true
				})
			}
		}
	}
	t.Logf("%d days, %d false alarms", days, alarms)
}

// TestWithinAMinute measures how long an incident of 30 % errors goes unnoticed on a path with 1 % of the traffic, and usually few errors. It begins
// at any check of a minute, so the next check can come up to five seconds later.
func TestWithinAMinute(t *testing.T) {
	for _, c := range []struct {
		total  float64 // responses a second of all paths
		within int     // seconds, besides those until the next check
		least  float64 // share of the incidents that are noticed by then
	}{{300, 40, 0.99}, {100, 55, 0.95}, {100, 80, 0.99}, {40, 55, 0.8}, {40, 80, 0.93}, {40, 115, 0.98}} {
		trials := int(*seeds) * 20
		noticed := 0
		for seed := range uint64(trials) {
			random := rand.New(rand.NewPCG(seed, 99))
			quiet := &traffic{random: random, rate: c.total / 100, errors: 0.001, slow: 0.01}
			bad := &traffic{random: random, rate: c.total / 100, errors: 0.3, slow: 0.01}
			u := quiet.usualOf(24)
			begins := 6*60 + step*random.IntN(60/step)
			after := -1
			play(12, func(minute int) parts {
				parts, failed := quiet.minute(), bad.minute()
				for i := range parts {
					if minute*60+i*step >= begins {
						parts[i] = failed[i]
					}
				}
				return parts
			}, func(second int, w *window) bool {
				if failing(w, u) {
					after = second - begins
				}
				return after < 0
			})
			if after > 0 && after <= c.within {
				noticed++
			}
		}
		if got := float64(noticed) / float64(trials); got < c.least {
			t.Errorf("of all incidents on a path with %g responses a second, %.2f %% were noticed within %d s, want %g %%", c.total/100, 100*got, c.within, 100*c.least)
		} else {
			t.Logf("%g responses a second: %.2f %% within %d s", c.total/100, 100*got, c.within)
		}
	}
}

// TestBound checks the promised bound on chance itself: the exact probability that a window of n responses, each an error with twice the usual
// probability, alarms.
func TestBound(t *testing.T) {
	for _, usualErrors := range []uint64{0, 1, 20, 400, 4000} {
		u := &usual{count: 20_000, errors: usualErrors}
		p := caution * share(u.errors, u.count)
		for _, n := range []uint32{5, 10, 40, 200, 1000} {
			for k := uint32(0); k <= n; k++ {
				var w window
				w[windowMinutes-1] = cell{count: n, errors: k}
				if failing(&w, u) {
					if chanceOf := tail(uint64(k), uint64(n), p); chanceOf >= errorBound(atMost(u.errors, u.count)) {
						t.Errorf("%d errors of %d, usually %d of 20,000: chance does this with %g", k, n, usualErrors, chanceOf)
					}
					break
				}
			}
		}
	}
}
