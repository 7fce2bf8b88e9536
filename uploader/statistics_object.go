package uploader

import (
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// The first line of a statistics object also describes the whole object, in the field "object": how many rows it has, which sequence
// numbers its events have, and the latest drop record of each reason among them. So a program that reads the archives of many instances
// can find missing numbers and add up drops from the statistics objects alone, which are kept after the event objects have been deleted.
// An object without responses has a single line; its row has no name and a count of 0.

// fieldObject is in the list of fields of a plan if the plan's statistics object describes itself. Plans of older versions do not have it
// in their lists, and their retries must write the same bytes as before.
const fieldObject = "statistics.object"

// appendObject appends the description of a plan's statistics object. It omits the list of runs if the list is longer than any in
// wayside's own plans, because the line could become too long for readers.
func appendObject(dst []byte, p *catalogue.Plan, f *fold) []byte {
	dst = appendNumber(dst, `,"object":{"rows":`, uint64(f.responding()))
	if len(p.Runs) <= catalogue.RunsMax {
		dst = append(dst, `,"runs":[`...)
		for i, r := range p.Runs {
			dst = appendNumber(comma(dst, i), `{"first":`, r.First)
			dst = append(appendNumber(dst, `,"last":`, r.Last), '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"drops":[`...)
	for i, reason := range slices.Sorted(maps.Keys(f.drops)) {
		d := f.drops[reason]
		dst = appendString(append(comma(dst, i), `{"reason":`...), reason)
		dst = appendNumber(dst, `,"seq":`, d.Seq)
		dst = append(appendNumber(dst, `,"responses":`, d.Responses), '}')
	}
	return append(dst, "]}"...)
}

// statsObject is the field "object", decoded.
type statsObject struct {
	Rows  uint64          `json:"rows"`
	Runs  []catalogue.Run `json:"runs"`
	Drops []struct {
		Reason    string `json:"reason"`
		Seq       uint64 `json:"seq"`
		Responses uint64 `json:"responses"`
	} `json:"drops"`
}

// describe copies the description of a statistics object into its contents. The error wraps [ErrDamaged] if wayside
// would not write such a description into an object with these bounds.
func (c *Contents) describe(d *statsObject, o *Object) error {
	if c.Lines != 1 || d.Rows > RowNamesMax || len(d.Runs) > runsReadMax || len(d.Drops) > stats.ErrorTypesMax {
		return Damagedf("line %d describes an object with %d rows, %d runs, %d drops", c.Lines, d.Rows, len(d.Runs), len(d.Drops))
	}
	before := uint64(0)
	for _, r := range d.Runs {
		if r.First <= before || r.First < o.First || r.Last > o.Last || r.Last < r.First {
			return Damagedf("sequence numbers %d to %d in an object of %d to %d", r.First, r.Last, o.First, o.Last)
		}
		before = r.Last
	}
	c.Runs, c.Drops = d.Runs, stats.Drops{}
	for _, drop := range d.Drops {
		if len(drop.Reason) > event.ErrorTypeBytesMax || drop.Seq < o.First || drop.Seq > o.Last || drop.Responses > figureMax {
			return Damagedf("drop record %d of %d responses, with a reason of %d bytes", drop.Seq, drop.Responses, len(drop.Reason))
		}
		c.Drops.Note(drop.Reason, stats.Drop{Seq: drop.Seq, Responses: drop.Responses})
	}
	return nil
}
