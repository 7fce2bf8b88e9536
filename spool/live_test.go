package spool

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/spool/queue"
)

// TestLedgersWhileBusy: the ledger's figures add up in every sample taken while writers, the committer and a reader are running.
func TestLedgersWhileBusy(t *testing.T) {
	s := openSet(t, testOptions(t.TempDir()))
	running(t, s)
	var stop atomic.Bool
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for i := w; !stop.Load() && i < 200_000; i++ {
				if i%7 == 0 {
					s.Exclude()
				}
				s.Record(sample(i))
				if i%64 == 0 {
					time.Sleep(time.Microsecond) // a proxy serves requests in between
				}
			}
		})
	}
	r := &reader{source: s, applied: make(map[uuid.UUID]uint64), count: make(map[uuid.UUID]uint64)}
	for range 300 {
		r.step(t)
		for _, l := range r.ledgers(t) {
			sum := l.Recorded + l.Excluded
			for _, n := range l.Dropped {
				sum += n
			}
			if sum != l.Responses || l.Recorded != l.Spooled+r.count[l.Epoch] {
				t.Fatalf("%d applied, ledger %+v", r.count[l.Epoch], l)
			}
		}
	}
	stop.Store(true)
	writers.Wait()
	mustFlush(t, s)
	for r.step(t) {
	}
	l := r.ledgers(t)[0]
	if l.Spooled != 0 || l.Recorded != r.count[l.Epoch] || l.Responses != s.responses.Load() {
		t.Fatalf("%d applied, %d responses, ledger at the end %+v", r.count[l.Epoch], s.responses.Load(), l)
	}
}

// reader applies batches as the collector does: it advances its watermark and acknowledges afterwards.
type reader struct {
	source  Source
	applied map[uuid.UUID]uint64
	count   map[uuid.UUID]uint64
}

func (r *reader) ledgers(t *testing.T) []Ledger {
	t.Helper()
	ledgers, err := r.source.Ledgers(context.Background(), r.applied)
	if err != nil {
		t.Fatal(err)
	}
	return ledgers
}

func (r *reader) step(t *testing.T) bool {
	t.Helper()
	batches, err := r.source.Peek(context.Background(), PeekOptions{MinEvents: 100, MaxWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		for seq, record := range b.All() {
			if seq > r.applied[b.Epoch] && event.IsResponseRecord(record) {
				r.count[b.Epoch]++
			}
		}
		r.applied[b.Epoch] = max(r.applied[b.Epoch], b.LastSeq)
		if len(batches)%2 == 0 { // delay the acknowledgment from time to time
			continue
		}
		if err := r.source.Ack(context.Background(), b.Epoch, b.LastSeq); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(batches); n > 0 {
		if err := r.source.Ack(context.Background(), batches[n-1].Epoch, batches[n-1].LastSeq); err != nil {
			t.Fatal(err)
		}
	}
	return len(batches) > 0
}

// TestFormats pins the formats on disk and on the wire.
func TestFormats(t *testing.T) {
	epoch := uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	b := queue.Batch{First: 1, Last: 300, Records: 299, Responses: 298}
	peek := encodePeek(PeekOptions{MinEvents: 4096, MaxBytes: 1 << 20, MaxWait: time.Second})
	for name, c := range map[string]struct{ got, want string }{
		"queue key": {hex.EncodeToString(b.Key()), "0000000000000001000000000000012c0000012b0000012a"},
		"handshake": {hex.EncodeToString(handshake()), "5753504c0001"},
		"frame":     {hex.EncodeToString(frameHead(framePeek, 7, len(peek))), "000000150100000007"},
		"peek":      {hex.EncodeToString(peek), "0000100000100000000000003b9aca00"},
		"ack":       {hex.EncodeToString(encode(ackRequest{epoch, 300})), "018f0000000070008000000000000001000000000000012c"},
		"reconcile": {hex.EncodeToString(encode(reconcileRequest{epoch, 300, 7})), "018f0000000070008000000000000001000000000000012c0000000000000007"},
		"refusals":  {strings.Join(refusalNames[:], " "), "accepted full fault closed unavailable too_large damaged age"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", name, c.got, c.want)
		}
	}
}
