package reader

import (
	"fmt"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// Expected are catalogue entries, by key, whose objects must be in the archive. A command that reads the archive takes away those that it
// meets; what is left at its end is missing. nil means that no catalogue is known.
type Expected map[string]*catalogue.Plan

// Expect returns what plans say must be there in a range: what was verified, and was not removed on purpose.
func Expect(plans []catalogue.Plan, r Range) Expected {
	e := Expected{}
	for i := range plans {
		if p := &plans[i]; p.State != catalogue.Planned && p.ExpiredAt.IsZero() && r.Touches(stats.HourStart(p.Hour)) {
			e[p.Key] = p
		}
	}
	return e
}

func (e Expected) met(key string) { delete(e, key) }

// missing returns a problem for each object that was not met, of a service and instance; empty: of any.
func (e Expected) missing(service, instance string) (out []Problem) {
	for _, p := range sortedPlans(e) {
		if (service == "" || service == p.Service) && (instance == "" || instance == p.Instance) {
			out = append(out, missing(p))
		}
	}
	return out
}

// missing is the problem of an object that was verified and is not there.
func missing(p *catalogue.Plan) Problem {
	return Problem{p.Key, fmt.Sprintf("was verified on %s and is missing (%d rows, state %s)", p.VerifiedAt.UTC().Format("2006-01-02 15:04"), p.Rows, p.State)}
}
