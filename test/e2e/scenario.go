package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/uploader"
)

// Scenario says how much traffic is sent and what is done to wayside meanwhile.
type Scenario struct {
	Requests    uint64
	Connections int // default 64
	KillBooks   int // times that the books process is killed
	KillRun     int // times that the traffic process is killed and started again
	Seed        uint64
	// SettleTimeout bounds the wait for the books after the traffic; default 2 minutes.
	SettleTimeout time.Duration
	Progress      io.Writer // nil: none
}

// Outcome is what a scenario came to.
type Outcome struct {
	Load       *load.Report
	Accounting Accounting
	Books      *Books
	Lost       uint64 // received in full and not in the books
	Unsent     uint64 // in the books and never sent
	KilledRun  int
	KilledBook int
	Settled    time.Duration // from the end of the traffic to settled books
	Archived   time.Duration // for archiving and reading back everything
	FirstLost  []uint64
}

// Run sends the traffic through w, archives everything into target, and compares.
func (s Scenario) Run(ctx context.Context, w *Wayside, target uploader.Target) (*Outcome, error) {
	if s.Connections == 0 {
		s.Connections = 64
	}
	if s.SettleTimeout == 0 {
		s.SettleTimeout = 2 * time.Minute
	}
	out := &Outcome{}
	var sent, received load.Bitmap
	var counters load.Counters
	stop, killed := make(chan struct{}), make(chan error, 1)
	go func() { killed <- s.kill(ctx, w, &counters, stop, out) }()
	var err error
	out.Load, err = load.Run(ctx, load.Options{
		Address: w.Listen, Connections: s.Connections, Requests: s.Requests, Sent: &sent, Received: &received, Counters: &counters,
		Verify: load.ExpectBody(200, []byte(OriginBody)),
	})
	close(stop)
	if err := errors.Join(err, <-killed); err != nil {
		return out, err
	}
	began := time.Now()
	settle, cancel := context.WithTimeout(ctx, s.SettleTimeout)
	defer cancel()
	if out.Accounting, err = w.Settle(settle); err != nil {
		return out, err
	}
	out.Settled = time.Since(began)
	began = time.Now()
	if _, err := w.Ask(ctx, "POST", "/-/job/archive?all=true"); err != nil {
		return out, err
	}
	out.Archived = time.Since(began)
	if out.Accounting, err = w.Settle(settle); err != nil {
		return out, err
	}
	if out.Books, err = ReadBooks(ctx, target); err != nil {
		return out, err
	}
	out.Lost, out.FirstLost = received.Missing(&out.Books.Nonces, 5)
	out.Unsent, _ = out.Books.Nonces.Missing(&sent, 5)
	return out, nil
}

// kill spreads the kills over the traffic, at places that the seed decides.
func (s Scenario) kill(ctx context.Context, w *Wayside, counters *load.Counters, stop <-chan struct{}, out *Outcome) error {
	random := rand.New(rand.NewPCG(s.Seed, 0)) //nolint:gosec // repeatable on purpose
	type blow struct {
		at    uint64
		books bool
	}
	var blows []blow
	for i := range s.KillBooks + s.KillRun {
		share := 0.05 + 0.85*random.Float64()
		blows = append(blows, blow{uint64(share * float64(s.Requests)), i < s.KillBooks})
	}
	slices.SortFunc(blows, func(a, b blow) int { return int(int64(a.at) - int64(b.at)) }) //nolint:gosec // far below 2^63
	for _, b := range blows {
		for counters.Sent.Load() < b.at {
			select {
			case <-stop:
				return errors.New("the traffic ended before all kills were made")
			case <-time.After(time.Millisecond):
			}
		}
		if b.books {
			for !w.KillBooks() { // between two children there is nobody to kill
				select {
				case <-stop:
					return errors.New("the traffic ended before all kills were made")
				case <-time.After(time.Millisecond):
				}
			}
			out.KilledBook++
		} else {
			w.Kill()
			if err := w.Start(ctx); err != nil {
				return err
			}
			out.KilledRun++
		}
		s.say("killed %s after %d requests", map[bool]string{true: "the books process", false: "the traffic process"}[b.books], counters.Sent.Load())
	}
	return nil
}

func (s Scenario) say(format string, args ...any) {
	if s.Progress != nil {
		_, _ = fmt.Fprintf(s.Progress, format+"\n", args...)
	}
}

// Check returns an error that names everything the outcome should not be.
func (s Scenario) Check(o *Outcome) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := o.Accounting.Check(); err != nil {
		errs = append(errs, err)
	}
	if o.Lost > 0 {
		fail("%d responses were received in full and are not in the books, such as %v", o.Lost, o.FirstLost)
	}
	if o.Unsent > 0 || o.Books.Foreign > 0 {
		fail("%d lines of the books were never sent, %d carry no nonce", o.Unsent, o.Books.Foreign)
	}
	if o.Books.Doubled > 0 || uint64(len(o.Books.IDs)) != o.Books.Lines {
		fail("%d lines doubled; %d distinct event ids in %d lines", o.Books.Doubled, len(o.Books.IDs), o.Books.Lines)
	}
	if a := o.Accounting; o.Books.Lines != a.Archived || a.Archived != a.Applied {
		fail("%d lines in the archive, accounting says archived %d of applied %d", o.Books.Lines, a.Archived, a.Applied)
	}
	if n := o.Accounting.DroppedTotal(); n > 0 {
		fail("%d drops: %v", n, o.Accounting.Dropped)
	}
	if n := o.Load.Failed[load.KindVerify]; n > 0 {
		fail("%d responses were not what the origin sent: %v", n, o.Load.Errors)
	}
	// Killing the traffic process breaks what each connection was doing, and once more a connection that was made anew
	// while the process died; killing the books process breaks nothing.
	if limit := uint64(2 * s.KillRun * s.Connections); o.Load.FailedTotal() > limit { //nolint:gosec // small
		fail("%d requests failed, at most %d may: %v %v", o.Load.FailedTotal(), limit, o.Load.Failed, o.Load.Errors)
	}
	if o.KilledBook != s.KillBooks || o.KilledRun != s.KillRun {
		fail("killed %d+%d times, wanted %d+%d", o.KilledBook, o.KilledRun, s.KillBooks, s.KillRun)
	}
	return errors.Join(errs...)
}
