package api

import "context"

// addDrops adds what was dropped in each hour of a range to the figures that of gives for the hour.
func addDrops(ctx context.Context, source RowSource, span hours, of func(hour int64) *Figures) error {
	s, ok := source.(dropSource)
	if !ok {
		return nil
	}
	return s.Drops(ctx, span.from, span.to, func(hour int64, reason string, responses uint64) { //nolint:wrapcheck // says what it is
		f := of(hour)
		if f.Dropped == nil {
			f.Dropped = map[string]uint64{}
		}
		f.Dropped[reason] += responses
	})
}

// everything reports whether the filter keeps all rows. What was dropped belongs to none, and is said only then.
func (f *filter) everything() bool { return *f == filter{anyHost: true, anyMethod: true} }
