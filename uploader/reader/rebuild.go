package reader

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/collector/stats"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/uploader"
)

// Origin says from what statistics are made again.
type Origin string

// The origins of [Rebuild].
const (
	// FromBest takes the statistics object where it is there, and the event object where it is not.
	FromBest Origin = "best"
	// FromStatistics takes statistics objects only.
	FromStatistics Origin = "statistics"
	// FromEvents folds event objects only.
	FromEvents Origin = "events"
)

// RebuildOptions say which statistics are wanted.
type RebuildOptions struct {
	Range             // whole hours: an hour that is touched is made whole
	Service, Instance string
	From              Origin // empty means FromBest
	Progress          func(done, total int, key string)
	// Hour, which may be nil, gets the rows of each hour, hours ascending, rows ordered by host, method and label.
	Hour func(keys []stats.Key, rows []*stats.Row) error
}

// Rebuilt says what statistics were made from.
type Rebuilt struct {
	Rows           int    `json:"rows"`
	Hours          int    `json:"hours"`
	Responses      uint64 `json:"responses"`
	FromStatistics int    `json:"from_statistics"` // objects
	FromEvents     int    `json:"from_events"`     // objects
	Dropped        uint64 `json:"dropped"`         // responses that could not be recorded, as far as drop records stand in the range
	// Epochs by identity.
	Epochs map[uuid.UUID]*EpochSum `json:"-"`
}

// EpochSum is what the archive holds of an epoch.
type EpochSum struct {
	LastSeq   uint64
	Responses uint64
	Told      map[int64]stats.Told // by hour, what drop records say; they expire with their objects
	Plans     []catalogue.Plan     // its objects, as a catalogue would have them
}

// Dropped is what the last drop record of each reason says.
func (e *EpochSum) Dropped() map[string]uint64 {
	last, out := stats.Told{}, map[string]uint64{}
	for _, told := range e.Told {
		last.Merge(told)
	}
	for reason, d := range last {
		out[reason] = d.Responses
	}
	return out
}

// Rebuild makes the hourly statistics again from the archive alone. Every object is compared with its metadata on the way;
// one that differs ends the rebuild, because half a book is worse than none.
func Rebuild(ctx context.Context, t uploader.Target, o RebuildOptions) (*Rebuilt, error) {
	b := &rebuilder{RebuildOptions: o, t: t, out: &Rebuilt{Epochs: map[uuid.UUID]*EpochSum{}}}
	pairs, err := b.pairs(ctx)
	if err != nil {
		return b.out, err
	}
	for i := range pairs {
		p := &pairs[i]
		if o.Progress != nil {
			o.Progress(i, len(pairs), p.Key)
		}
		if i > 0 && !p.Hour.Equal(pairs[i-1].Hour) {
			if err := b.flush(); err != nil {
				return b.out, err
			}
		}
		if err := b.add(ctx, p); err != nil {
			return b.out, err
		}
	}
	for _, sum := range b.out.Epochs {
		for _, n := range sum.Dropped() {
			b.out.Dropped += n
		}
	}
	return b.out, b.flush()
}

// pair is an archived plan: its event object, its statistics object, or both. Key is that of the events.
type pair struct {
	Object
	events, statistics bool
}

type rebuilder struct {
	RebuildOptions
	t    uploader.Target
	out  *Rebuilt
	rows map[stats.Key]*stats.Row // of the present hour
}

// pairs lists what is wanted, hour by hour.
func (b *rebuilder) pairs(ctx context.Context) ([]pair, error) {
	byKey := map[string]*pair{}
	add := func(o Object, mark func(*pair)) {
		if b.Service != "" && b.Service != o.Service || b.Instance != "" && b.Instance != o.Instance {
			return
		}
		p := byKey[o.Key]
		if p == nil {
			p = &pair{Object: o}
			byKey[o.Key] = p
		}
		mark(p)
	}
	err := List(ctx, b.t, b.Range, func(o Object) error {
		add(o, func(p *pair) { p.events, p.Size = true, o.Size })
		return nil
	})
	if err == nil && b.From != FromEvents {
		err = b.t.List(ctx, uploader.StatsPrefix, func(info uploader.ObjectInfo) error {
			o, err := ParseKey(uploader.EventsKey(info.Key))
			if err == nil && b.Touches(o.Hour) {
				add(o, func(p *pair) { p.statistics = true })
			}
			return nil //nolint:nilerr // somebody else's file
		})
	}
	var pairs []pair
	for _, p := range byKey {
		if b.From != FromStatistics || p.statistics {
			pairs = append(pairs, *p)
		}
	}
	slices.SortFunc(pairs, func(x, y pair) int { return cmp.Or(x.Hour.Compare(y.Hour), strings.Compare(x.Key, y.Key)) })
	return pairs, err
}

func (b *rebuilder) add(ctx context.Context, p *pair) error {
	var c *Contents
	var err error
	before := b.out.Responses
	if p.statistics {
		b.out.FromStatistics++
		c, err = b.addStatistics(ctx, uploader.StatsKey(p.Key))
	} else {
		b.out.FromEvents++
		c, err = b.addEvents(ctx, p)
	}
	if err != nil {
		return err
	}
	if want := c.Meta[uploader.MetaRawSHA256]; c.RawSHA256 != want {
		return fmt.Errorf("%s: its content has hash %s, its metadata says %s: see wayside archive verify", p.Key, c.RawSHA256, want)
	}
	responses := b.out.Responses - before
	if want := c.Meta[uploader.MetaRows]; want != strconv.FormatUint(responses, 10) {
		return fmt.Errorf("%s: it adds up to %d responses, its metadata says %s: see wayside archive verify", p.Key, responses, want)
	}
	return b.enter(ctx, p, c, responses)
}

func (b *rebuilder) addStatistics(ctx context.Context, key string) (*Contents, error) {
	return scan(ctx, b.t, key, false, func(text []byte) error {
		k, row, err := uploader.ParseStats(text)
		if err != nil {
			return err
		}
		b.out.Responses += row.Count
		return b.row(k).Merge(row)
	})
}

func (b *rebuilder) addEvents(ctx context.Context, p *pair) (*Contents, error) {
	hour := p.Hour.Unix() / 3600
	var line uploader.Line
	return Scan(ctx, b.t, p.Key, func(text []byte) error {
		if bytes.Contains(text, dropMark) {
			return b.drop(p, text)
		}
		line = uploader.Line{}
		if err := json.Unmarshal(text, &line); err != nil {
			return err
		}
		if err := uploader.CheckSchema(p.Key, line.Schema); err != nil {
			return err
		}
		e, name := line.Event(), line.Row()
		b.row(stats.Key{Hour: hour, Host: name.Host, Method: name.Method, Label: name.Label}).Add(&e)
		b.out.Responses++
		return nil
	})
}

func (b *rebuilder) row(k stats.Key) *stats.Row {
	if b.rows == nil {
		b.rows = map[stats.Key]*stats.Row{}
	}
	row := b.rows[k]
	if row == nil {
		row = &stats.Row{}
		b.rows[k] = row
	}
	return row
}

// flush hands out the rows of an hour.
func (b *rebuilder) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	b.out.Rows += len(b.rows)
	b.out.Hours++
	keys := make([]stats.Key, 0, len(b.rows))
	for k := range b.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y stats.Key) int {
		return cmp.Or(cmp.Compare(x.Hour, y.Hour), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Method, y.Method), cmp.Compare(x.Label, y.Label))
	})
	rows := make([]*stats.Row, len(keys))
	for i, k := range keys {
		rows[i] = b.rows[k]
	}
	b.rows = nil
	if b.Hour == nil {
		return nil
	}
	return b.Hour(keys, rows)
}

// drop notes a drop record. Its value counts from the beginning of the epoch; objects do not come in the order of their events.
func (b *rebuilder) drop(p *pair, text []byte) error {
	var line uploader.Line
	if err := json.Unmarshal(text, &line); err != nil {
		return err
	}
	sum, hour := b.sum(p), p.Hour.Unix()/3600
	if sum.Told[hour] == nil {
		sum.Told[hour] = stats.Told{}
	}
	sum.Told[hour].Note(line.ErrorType, stats.ToldDrop{Seq: line.Seq, Responses: line.Dropped})
	return nil
}

func (b *rebuilder) sum(p *pair) *EpochSum {
	sum := b.out.Epochs[p.Epoch]
	if sum == nil {
		sum = &EpochSum{Told: map[int64]stats.Told{}}
		b.out.Epochs[p.Epoch] = sum
	}
	return sum
}

// enter adds the object to its epoch's sum, with a catalogue entry. Statistics know nothing of drops: where the events' object
// says that it holds more lines than responses, it is read for them.
func (b *rebuilder) enter(ctx context.Context, p *pair, c *Contents, responses uint64) error {
	sum := b.sum(p)
	sum.Responses += responses
	sum.LastSeq = max(sum.LastSeq, p.Last)
	plan, err := b.plan(ctx, p, c, responses)
	sum.Plans = append(sum.Plans, plan)
	if err != nil || !p.statistics || !p.events || plan.Lines <= responses {
		return err
	}
	_, err = Scan(ctx, b.t, p.Key, func(text []byte) error {
		if !bytes.Contains(text, dropMark) {
			return nil
		}
		return b.drop(p, text)
	})
	return err
}

// plan is the catalogue entry of an object, as far as it can be known.
func (b *rebuilder) plan(ctx context.Context, p *pair, c *Contents, responses uint64) (catalogue.Plan, error) {
	plan := catalogue.Plan{
		State: catalogue.Deleted, Hour: p.Hour.Unix() / 3600, Epoch: p.Epoch, Key: p.Key, FormatVersion: uploader.FormatVersion,
		Service: p.Service, Instance: p.Instance, Rows: responses, MaxTime: p.Hour, Target: b.t.String(), ObjectBytes: uint64(max(p.Size, 0)), //nolint:gosec // not negative
	}
	meta := c.Meta
	if p.statistics {
		plan.StatsKey, plan.StatsRows, plan.StatsBytes, plan.StatsSHA256 = uploader.StatsKey(p.Key), c.Lines, c.Bytes, c.SHA256
		if !p.events {
			plan.ExpiredAt = p.Hour // when is not known
			return plan, nil
		}
		info, err := b.t.Stat(ctx, p.Key)
		if err == nil {
			err = uploader.CheckFormat(p.Key, info.Meta)
		}
		if err != nil {
			return plan, err
		}
		meta = info.Meta
	} else {
		plan.ObjectSHA256 = c.SHA256
	}
	plan.Lines, _ = strconv.ParseUint(meta[uploader.MetaLines], 10, 64)
	plan.RawBytes, _ = strconv.ParseUint(meta[uploader.MetaRawBytes], 10, 64)
	plan.RawSHA256 = meta[uploader.MetaRawSHA256]
	var err error
	if plan.Runs, err = uploader.ParseRuns(meta[uploader.MetaRuns]); err != nil {
		return plan, fmt.Errorf("%s: %w", p.Key, err)
	}
	return plan, nil
}
