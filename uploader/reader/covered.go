package reader

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// After a data directory has been restored from a backup, some events are archived a second time, in objects with other bounds. An event
// is identified by its epoch and sequence number, so code that adds up or prints events can avoid processing it twice.

// covered holds, for each epoch, the events that have been read, as ascending, disjoint runs.
type covered map[uuid.UUID][]catalogue.Run

// add adds runs of an epoch. The runs must be ascending and must not overlap each other.
func (c covered) add(epoch uuid.UUID, runs []catalogue.Run) {
	all := append(slices.Clone(c[epoch]), runs...)
	slices.SortFunc(all, func(a, b catalogue.Run) int { return cmp.Compare(a.First, b.First) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && (r.First <= merged[n-1].Last || r.First == merged[n-1].Last+1) {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	c[epoch] = merged
}

// whole reports whether all of the runs are in c. It returns false if there are no runs.
func (c covered) whole(epoch uuid.UUID, runs []catalogue.Run) bool {
	have := c[epoch]
	if len(runs) == 0 {
		return false
	}
	for _, r := range runs {
		i, found := slices.BinarySearchFunc(have, r.First, func(h catalogue.Run, first uint64) int { return cmp.Compare(h.First, first) })
		if !found {
			i--
		}
		if i < 0 || have[i].Last < r.Last {
			return false
		}
	}
	return true
}

// overlaps returns the keys of the objects whose bounds overlap those of another object of the same epoch.
func overlaps[T any](objects []T, object func(*T) *uploader.Object) map[string]bool {
	byEpoch := map[uuid.UUID][]*uploader.Object{}
	for i := range objects {
		o := object(&objects[i])
		byEpoch[o.Epoch] = append(byEpoch[o.Epoch], o)
	}
	out := map[string]bool{}
	for _, list := range byEpoch {
		slices.SortFunc(list, func(a, b *uploader.Object) int {
			return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
		})
		var reaches *uploader.Object // the object with the largest Last so far
		for _, o := range list {
			if reaches != nil && o.First <= reaches.Last {
				out[o.Key], out[reaches.Key] = true, true
			}
			if reaches == nil || o.Last > reaches.Last {
				reaches = o
			}
		}
	}
	return out
}
