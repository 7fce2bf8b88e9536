package e2e

import (
	"cmp"
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

// Scenario configures the amount of traffic, and the number of times that the processes are killed during the traffic.
type Scenario struct {
	Requests    uint64
	Connections int // default 64
	KillBooks   int // number of times that the books process is killed
	KillRun     int // number of times that the traffic process is killed and started again
	Seed        uint64
	// SettleTimeout is the maximum time until the books have settled after the traffic. The default is 2 minutes.
	SettleTimeout time.Duration
	Progress      io.Writer // nil for no output
}

// Outcome is the result of a scenario.
type Outcome struct {
	Load       *load.Report
	Accounting Accounting
	Books      *Books
	Lost       uint64 // number of responses received in full but not in the books
	Unsent     uint64 // number of responses in the books to requests that were never sent
	KilledRun  int
	KilledBook int
	Settled    time.Duration // time from the end of the traffic until the books had settled
	Archived   time.Duration // time for archiving and verifying everything
	FirstLost  []uint64
}

// Run sends the traffic through w, archives everything into target, and compares the results.
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
	if out.Accounting, err = w.AwaitSettled(settle); err != nil {
		return out, err
	}
	out.Settled = time.Since(began)
	began = time.Now()
	if _, err := w.Ask(ctx, "POST", "/-/job/archive?all=true"); err != nil {
		return out, err
	}
	out.Archived = time.Since(began)
	if out.Accounting, err = w.AwaitSettled(settle); err != nil {
		return out, err
	}
	if out.Books, err = ReadBooks(ctx, target); err != nil {
		return out, err
	}
	out.Lost, out.FirstLost = received.Missing(&out.Books.Nonces, 5)
	out.Unsent, _ = out.Books.Nonces.Missing(&sent, 5)
	return out, nil
}

// kill spreads the kills over the traffic. The times depend on the seed.
func (s Scenario) kill(ctx context.Context, w *Wayside, counters *load.Counters, stop <-chan struct{}, out *Outcome) error {
	random := rand.New(rand.NewPCG(s.Seed, 0))
	type killAt struct {
		at    uint64
		books bool
	}
	var kills []killAt
	for i := range s.KillBooks + s.KillRun {
		share := 0.05 + 0.85*random.Float64()
		kills = append(kills, killAt{uint64(share * float64(s.Requests)), i < s.KillBooks})
	}
	slices.SortFunc(kills, func(a, b killAt) int { return cmp.Compare(a.at, b.at) })
	for _, k := range kills {
		for counters.Sent.Load() < k.at {
			select {
			case <-stop:
				return errors.New("the traffic ended before all kills were made")
			case <-time.After(time.Millisecond):
			}
		}
		if k.books {
			for !w.KillBooks() { // between two books processes, there is none for a moment
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
		s.progress("killed %s after %d requests", map[bool]string{true: "the books process", false: "the traffic process"}[k.books], counters.Sent.Load())
	}
	return nil
}

func (s Scenario) progress(format string, args ...any) {
	if s.Progress != nil {
		_, _ = fmt.Fprintf(s.Progress, format+"\n", args...)
	}
}

// Check returns an error that names everything that is wrong with the outcome.
func (s Scenario) Check(o *Outcome) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := o.Accounting.Check(); err != nil {
		errs = append(errs, err)
	}
	if o.Lost > 0 {
		fail("%d responses were received in full, but are not in the books, such as %v", o.Lost, o.FirstLost)
	}
	if o.Unsent > 0 || o.Books.Foreign > 0 {
		fail("%d lines of the books were never sent, %d have no nonce", o.Unsent, o.Books.Foreign)
	}
	if o.Books.Doubled > 0 || uint64(len(o.Books.IDs)) != o.Books.Lines {
		fail("%d lines are in the books twice; %d different event ids in %d lines", o.Books.Doubled, len(o.Books.IDs), o.Books.Lines)
	}
	if a := o.Accounting; o.Books.Lines != a.Archived || a.Archived != a.Applied {
		fail("%d lines in the archive, but the accounting has %d archived of %d applied", o.Books.Lines, a.Archived, a.Applied)
	}
	if n := o.Accounting.DroppedTotal(); n > 0 {
		fail("%d responses were dropped: %v", n, o.Accounting.Dropped)
	}
	if n := o.Load.Failed[load.KindVerify]; n > 0 {
		fail("%d responses differ from the origin's: %v", n, o.Load.Errors)
	}
	// A kill of the traffic process breaks the request of each connection, and possibly one more on a connection that was
	// opened while the process died. A kill of the books process breaks nothing.
	if limit := uint64(2 * s.KillRun * s.Connections); o.Load.FailedTotal() > limit {
		fail("%d requests failed, at most %d may: %v %v", o.Load.FailedTotal(), limit, o.Load.Failed, o.Load.Errors)
	}
	if o.KilledBook != s.KillBooks || o.KilledRun != s.KillRun {
		fail("killed the processes %d and %d times, want %d and %d", o.KilledBook, o.KilledRun, s.KillBooks, s.KillRun)
	}
	return errors.Join(errs...)
}
