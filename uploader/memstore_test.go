package uploader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
)

// memStore is a store in memory as the uploader uses it: blocks of encoded events, plans, and the rules between them.
// It fails the test if a rule is broken.
type memStore struct {
	tb testing.TB

	mu      sync.Mutex
	blocks  map[catalogue.BlockID]*memBlock
	order   []catalogue.BlockID
	planned map[catalogue.BlockID]uint64
	plans   []catalogue.Plan
	batch   uint64

	pendingMax int   // maximum length of the list that Pending returns; 0 means no limit
	failMark   error // returned once by MarkVerified
	failDelete error // returned by DeleteBlocks
	deleted    uint64
	jobs       map[string]catalogue.JobState
	archived   uint64
}

type memBlock struct {
	pending catalogue.Pending
	seqs    []uint64
	labels  []string
	records [][]byte
}

func newMemStore(tb testing.TB) *memStore {
	tb.Helper()
	return &memStore{tb: tb, blocks: map[catalogue.BlockID]*memBlock{}, planned: map[catalogue.BlockID]uint64{}}
}

// rowOf returns the row of an event under a label, with the event's host, method and route.
func rowOf(label string, e *event.Event) *catalogue.RowName {
	return &catalogue.RowName{Host: string(e.Host), Method: string(e.Method), Label: label, Route: string(e.Route)}
}

type memItem struct {
	seq   uint64
	label string
	event event.Event
}

// apply stores events as blocks of at most perBlock events, each of one hour, like the collector's batches.
func (m *memStore) apply(epoch uuid.UUID, at time.Time, perBlock int, items ...memItem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batch++
	byHour := map[int64][]memItem{}
	var hours []int64
	for _, it := range items {
		h := it.event.TimeMicros / 3600e6
		if byHour[h] == nil {
			hours = append(hours, h)
		}
		byHour[h] = append(byHour[h], it)
	}
	var index uint16
	for _, h := range hours {
		for part := range slices.Chunk(byHour[h], perBlock) {
			m.addBlock(catalogue.BlockID{Hour: h, Batch: m.batch, Index: index}, epoch, at, part)
			index++
		}
	}
}

func (m *memStore) addBlock(id catalogue.BlockID, epoch uuid.UUID, at time.Time, items []memItem) {
	b := &memBlock{pending: catalogue.Pending{ID: id, Epoch: epoch, AppliedAt: at}}
	for i := range items {
		it := &items[i]
		record := make([]byte, it.event.Size())
		it.event.Encode(record)
		b.seqs, b.labels, b.records = append(b.seqs, it.seq), append(b.labels, it.label), append(b.records, record)
		p := &b.pending
		p.Lines++
		p.Bytes += uint64(len(record))
		if it.event.IsResponse() {
			p.Rows++
		}
		if n := len(p.Runs); n > 0 && p.Runs[n-1].Last+1 == it.seq {
			p.Runs[n-1].Last = it.seq
		} else {
			p.Runs = append(p.Runs, catalogue.Run{First: it.seq, Last: it.seq})
		}
		if when := time.UnixMicro(it.event.TimeMicros); when.After(p.MaxTime) {
			p.MaxTime = when
		}
	}
	m.blocks[id] = b
	m.order = append(m.order, id)
}

func (m *memStore) Pending(_ context.Context, appliedBefore time.Time) ([]catalogue.Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []catalogue.Pending
	for _, id := range m.order {
		if m.pendingMax > 0 && len(out) == m.pendingMax {
			break
		}
		if b := m.blocks[id]; b != nil && m.planned[id] == 0 && b.pending.AppliedAt.Before(appliedBefore) {
			out = append(out, b.pending)
		}
	}
	return out, nil
}

func (m *memStore) Events(_ context.Context, p *catalogue.Plan, fn func(uint64, *catalogue.RowName, *event.Event) error) error {
	var e event.Event
	for _, id := range p.Blocks {
		m.mu.Lock()
		b := m.blocks[id]
		m.mu.Unlock()
		if b == nil {
			return errors.New("block is gone")
		}
		for i, record := range b.records {
			if err := e.Decode(record); err != nil {
				return err
			}
			if err := fn(b.seqs[i], rowOf(b.labels[i], &e), &e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memStore) AddPlan(_ context.Context, p *catalogue.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p.ID = uint64(len(m.plans) + 1)
	for _, id := range p.Blocks {
		if m.planned[id] != 0 || m.blocks[id] == nil {
			m.tb.Errorf("block %v is planned twice or unknown", id)
		}
		m.planned[id] = p.ID
	}
	for i := range m.plans {
		if m.plans[i].Key == p.Key {
			m.tb.Errorf("two plans have the key %s", p.Key)
		}
	}
	m.plans = append(m.plans, *p)
	return nil
}

func (m *memStore) PlansIn(_ context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error {
	m.mu.Lock()
	plans := slices.Clone(m.plans)
	m.mu.Unlock()
	for i := range plans {
		if plans[i].State != state {
			continue
		}
		if err := fn(&plans[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) MarkVerified(_ context.Context, p *catalogue.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failMark; err != nil {
		m.failMark = nil
		return err
	}
	stored := &m.plans[p.ID-1]
	if stored.State != catalogue.Planned || stored.Key != p.Key || p.ObjectSHA256 == "" || p.VerifiedAt.IsZero() {
		m.tb.Errorf("plan %d cannot be verified: %+v", p.ID, p)
	}
	*stored = *p
	stored.State = catalogue.Verified
	m.archived += p.Rows
	return nil
}

func (m *memStore) Checkpoint() error { return nil }

func (m *memStore) Unreconciled(uuid.UUID) (unreconciled, imported bool) { return false, false }

func (m *memStore) ImportObject(_ context.Context, p *catalogue.Plan) error {
	m.tb.Errorf("%s is imported, and no epoch is unreconciled", p.Key)
	return nil
}

func (m *memStore) MarkImported(uuid.UUID) error { return nil }

func (m *memStore) MarkExpired(_ context.Context, p *catalogue.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	stored := &m.plans[p.ID-1]
	if stored.State != catalogue.Deleted || p.ExpiredAt.IsZero() {
		m.tb.Errorf("plan %d expires in state %s", p.ID, stored.State)
	}
	stored.ExpiredAt = p.ExpiredAt
	return nil
}

func (m *memStore) Job(name string) (catalogue.JobState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.jobs[name], nil
}

func (m *memStore) SetJob(name string, s catalogue.JobState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs == nil {
		m.jobs = map[string]catalogue.JobState{}
	}
	m.jobs[name] = s
	return nil
}

func (m *memStore) DeleteBlocks(_ context.Context, p *catalogue.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failDelete != nil {
		return m.failDelete
	}
	stored := &m.plans[p.ID-1]
	if stored.State != catalogue.Verified {
		m.tb.Errorf("plan %d is deleted in state %s", p.ID, stored.State)
	}
	stored.State = catalogue.Deleted
	for _, id := range p.Blocks {
		delete(m.blocks, id)
	}
	m.deleted += p.Rows
	return nil
}

func (m *memStore) blocksLeft() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blocks)
}

func (m *memStore) plan(i int) catalogue.Plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.plans[i]
}

func (m *memStore) planCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.plans)
}
