package live

import (
	"cmp"
	"slices"
	"time"
)

// Sizes of the steps that the dashboard draws.
const (
	StepSeconds = 10  // length of a step
	Steps       = 180 // number of steps kept: half an hour
	ringsMax    = 512 // rows with their own rates

	nowSeconds  = 10 // period over which Activity.Rate is measured
	secondsKept = 16 // a power of two, larger than nowSeconds plus the number of seconds by which events can be late or early
)

// ring counts responses by step and by second. Step n, counted from 1970, is at index n modulo Steps.
type ring struct {
	newest int64 // the latest step written
	count  [Steps]uint32
	errors [Steps]uint32

	second  int64 // the latest second written
	seconds [secondsKept]uint32
}

// add counts one response in the given second. It ignores a response that is too old for the ring or more than one step ahead of the
// clock. Such a response is still counted in the statistics.
func (r *ring) add(second, now int64, failed bool) {
	step := second / StepSeconds
	if step > now/StepSeconds+1 {
		return
	}
	if second <= now+1 {
		r.addSecond(second)
	}
	if step <= r.newest-Steps {
		return
	}
	r.advance(step)
	at := step % Steps
	r.count[at]++
	if failed {
		r.errors[at]++
	}
}

// advance clears the steps after the newest one, up to and including step.
func (r *ring) advance(step int64) {
	if step <= r.newest {
		return
	}
	for s := max(r.newest+1, step-Steps+1); s <= step; s++ {
		r.count[s%Steps], r.errors[s%Steps] = 0, 0
	}
	r.newest = step
}

// addSecond counts one response for the current rate.
func (r *ring) addSecond(second int64) {
	if second <= r.second-secondsKept {
		return
	}
	for s := max(r.second+1, second-secondsKept+1); s <= second; s++ {
		r.seconds[s%secondsKept] = 0
	}
	r.second = max(r.second, second)
	r.seconds[second%secondsKept]++
}

// rate returns the responses per second over the complete seconds [from, to), which must be at most nowSeconds.
func (r *ring) rate(from, to int64) float64 {
	if to <= from {
		return 0
	}
	var n uint64
	for s := from; s < to; s++ {
		if s > r.second-secondsKept && s <= r.second {
			n += uint64(r.seconds[s%secondsKept])
		}
	}
	return float64(n) / float64(to-from)
}

// read returns the steps from first to last, oldest first. There are none if first is later than last.
func (r *ring) read(first, last int64) Activity {
	n := max(0, last-first+1)
	a := Activity{Count: make([]uint32, n), Errors: make([]uint32, n)}
	for i := range n {
		if step := first + i; step <= r.newest && step > r.newest-Steps && step >= 0 {
			a.Count[i], a.Errors[i] = r.count[step%Steps], r.errors[step%Steps]
		}
	}
	return a
}

// Activity holds the numbers of responses and errors in each step, oldest first, and the current rate.
type Activity struct {
	// Rate is in responses per second, over the last ten complete seconds, or fewer if the process started later.
	Rate   float64  `json:"rate"`
	Count  []uint32 `json:"count"`
	Errors []uint32 `json:"errors"`
}

// RowActivity is the activity of one row.
type RowActivity struct {
	Host   string `json:"host"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Route  string `json:"route,omitempty"`
	Activity
}

// Recent is the body of GET /api/v1/recent.
type Recent struct {
	From        time.Time     `json:"from"` // start of the first step, or the later time at which counting began
	To          time.Time     `json:"to"`   // end of the last step, which is complete
	StepSeconds int           `json:"step_seconds"`
	Totals      Activity      `json:"totals"` // of all responses, including those of unlisted rows
	Paths       []RowActivity `json:"paths"`  // rows with at least one response, busiest first
}

// Recent returns the half hour that ended with the last complete step, or less if the feed has not counted for that long: the feed has no
// data for the time before, so Recent must not report that there were no responses. An event arrives about a second after its response,
// so a step counts as complete two seconds after its end.
func (f *Feed) Recent() Recent {
	now := f.o.Now().Unix()
	f.mu.Lock()
	defer f.mu.Unlock()
	last := (now-2)/StepSeconds - 1
	first := max(last-Steps+1, f.since/StepSeconds)
	start := max(first*StepSeconds, f.since)
	r := Recent{
		From: time.Unix(start, 0).UTC(), To: time.Unix(max((last+1)*StepSeconds, start), 0).UTC(),
		StepSeconds: StepSeconds, Paths: []RowActivity{},
	}
	to := now - 1
	from := max(to-nowSeconds, f.since)
	r.Totals = f.total.read(first, last)
	r.Totals.Rate = f.total.rate(from, to)
	for k, row := range f.rows {
		if row.ring == nil || row.ring.newest < first {
			continue
		}
		a := row.ring.read(first, last)
		if a.Rate = row.ring.rate(from, to); a.Rate > 0 || sum(a.Count) > 0 {
			r.Paths = append(r.Paths, RowActivity{k.Host, k.Method, k.Label, k.Route, a})
		}
	}
	slices.SortFunc(r.Paths, func(a, b RowActivity) int {
		return cmp.Or(cmp.Compare(sum(b.Count), sum(a.Count)), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Route, b.Route))
	})
	return r
}

func sum(values []uint32) (total uint64) {
	for _, v := range values {
		total += uint64(v)
	}
	return total
}
