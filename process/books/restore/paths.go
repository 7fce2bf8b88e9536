package restore

import (
	"context"

	"github.com/wayside-proxy/wayside/collector/paths"
	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/process/books"
)

// knownRows are the names of the rows that an archive holds, in the order in which they first appear, hour by hour. They
// are as many as the path table had labels, whatever the number of hours.
type knownRows struct {
	names  []stats.Key // without the hour
	proofs map[stats.Key]uint64
}

func newKnownRows() *knownRows { return &knownRows{proofs: map[stats.Key]uint64{}} }

func (k *knownRows) add(keys []stats.Key, rows []*stats.Row) {
	for i, name := range keys {
		name.Hour = 0
		if _, seen := k.proofs[name]; !seen {
			k.names = append(k.names, name)
		}
		n := k.proofs[name]
		for _, s := range rows[i].Status {
			if paths.Proves(s.Code) {
				n += s.Count
			}
		}
		k.proofs[name] = n
	}
}

// relearn makes the path table again from the rows, so that older labels are shown under what was learnt from them, and
// what comes next finds its rows and no more room than there was.
func (k *knownRows) relearn(ctx context.Context, s *store.Store, cfg *configs.Config) error {
	labeler, err := books.NewLabeler(cfg)
	if err != nil {
		return err
	}
	labeler.Begin()
	for _, name := range k.names {
		labeler.Known(name.Host, name.Method, name.Label, k.proofs[name])
	}
	labeler.Relearn()
	var changes []store.StateChange
	for _, c := range labeler.Changes() {
		changes = append(changes, store.StateChange{Key: c.Key, Value: c.Value})
	}
	return s.ImportPathState(ctx, changes)
}
