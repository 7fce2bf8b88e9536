package stats

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/varint"
)

// DropsVersion is the format that [Drops.AppendBinary] writes.
const DropsVersion = 1

// Drops holds the latest drop record of each reason, for one epoch in one hour. The figure in a drop record is the total since the
// beginning of the epoch. So the same records give the same Drops in any order, even with repetitions, and a later record includes the
// figure of a missing one.
type Drops map[string]Drop

// Drop is a drop record.
type Drop struct {
	Seq       uint64 `json:"seq"`
	Responses uint64 `json:"responses"` // number not recorded for this reason since the epoch began
}

// Note adds a drop record. It ignores reasons beyond [ErrorTypesMax], but wayside has fewer reasons than that.
func (t Drops) Note(reason string, d Drop) {
	known, ok := t[reason]
	if ok && known.Seq >= d.Seq || !ok && len(t) >= ErrorTypesMax {
		return
	}
	t[reason] = d
}

// Merge adds the records of o.
func (t Drops) Merge(o Drops) {
	for reason, d := range o {
		t.Note(reason, d)
	}
}

// AppendBinary appends version (1 byte), n, n × (length, reason, seq, responses), in ascending order of reasons.
// Numbers are unsigned varints. The error is always nil; [encoding.BinaryAppender] requires it.
func (t Drops) AppendBinary(dst []byte) ([]byte, error) {
	dst = binary.AppendUvarint(append(dst, DropsVersion), uint64(len(t)))
	for _, reason := range slices.Sorted(maps.Keys(t)) {
		dst = varint.AppendText(dst, reason)
		dst = binary.AppendUvarint(dst, t[reason].Seq)
		dst = binary.AppendUvarint(dst, t[reason].Responses)
	}
	return dst, nil
}

// DecodeDrops decodes what AppendBinary wrote. The error wraps [ErrMalformed], or [ErrVersion] for a newer format.
func DecodeDrops(src []byte) (Drops, error) {
	if len(src) > 0 && src[0] > DropsVersion {
		return nil, fmt.Errorf("%w: drops of version %d, but this version supports only up to %d", ErrVersion, src[0], DropsVersion)
	}
	if len(src) == 0 || src[0] == 0 {
		return nil, fmt.Errorf("%w: drops of %d bytes", ErrMalformed, len(src))
	}
	in := varint.Reader{Rest: src[1:]}
	t, before := Drops{}, ""
	for i := range in.Length(ErrorTypesMax) {
		reason := string(in.Text(event.ErrorTypeBytesMax))
		if i > 0 && reason <= before {
			in.Fail()
		}
		before = reason
		t[reason] = Drop{Seq: in.Uvarint(), Responses: in.Uvarint()}
	}
	if !in.Done() {
		return nil, fmt.Errorf("%w: drops of %d bytes", ErrMalformed, len(src))
	}
	return t, nil
}

// Deltas calls fn with the number of responses that were dropped in each hour of one epoch. This is the difference between the figure of
// the hour and the figure of the previous record. A later figure can be lower, if responses that were counted as dropped turn out to have
// been recorded. In that case, the earlier figures are also lowered, so the sum over the hours always equals the last record.
func Deltas(hours map[int64]Drops, fn func(hour int64, reason string, responses uint64)) {
	type step struct {
		hour int64
		Drop
	}
	reasons := map[string][]step{}
	for hour, drops := range hours {
		for reason, d := range drops {
			reasons[reason] = append(reasons[reason], step{hour, d})
		}
	}
	for reason, steps := range reasons {
		// Going backwards from the last record, no figure may be larger than any later one.
		slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(b.Seq, a.Seq) })
		for i := 1; i < len(steps); i++ {
			steps[i].Responses = min(steps[i].Responses, steps[i-1].Responses)
		}
		for i, s := range steps {
			before := uint64(0)
			if i+1 < len(steps) {
				before = steps[i+1].Responses
			}
			if s.Responses > before {
				fn(s.hour, reason, s.Responses-before)
			}
		}
	}
}
