package reader

import (
	"fmt"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Expected has, by key, the catalogue entries whose objects must be in the archive. A command that reads the archive removes the entries
// whose objects it finds, and reports the rest as missing. nil means that there is no catalogue.
type Expected map[string]*catalogue.Plan

// Expect returns the plans of a range that were verified and have not expired.
func Expect(plans []catalogue.Plan, r Range) Expected {
	e := Expected{}
	for i := range plans {
		if p := &plans[i]; p.State != catalogue.Planned && p.ExpiredAt.IsZero() && r.Touches(stats.HourStart(p.Hour)) {
			e[p.Key] = p
		}
	}
	return e
}

func (e Expected) found(key string) { delete(e, key) }

// missing returns a problem for each object of a service and instance that has not been found. An empty name matches everything.
func (e Expected) missing(service, instance string) (out []Problem) {
	for _, p := range sortedPlans(e) {
		if isOf(service, instance, p.Service, p.Instance) {
			out = append(out, missing(p))
		}
	}
	return out
}

// missing returns the problem of an object that was verified but no longer exists.
func missing(p *catalogue.Plan) Problem {
	return Problem{p.Key, fmt.Sprintf("was verified on %s but is missing (%d rows, state %s)", p.VerifiedAt.UTC().Format("2006-01-02 15:04"), p.Rows, p.State)}
}
