package accounting

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wayside-proxy/wayside/spool"
)

// Answer is GET /api/v1/accounting: the contract's figures, and where the books stand.
type Answer struct {
	Accounting
	// Books is "connected", or why the figures of the store are those it last gave.
	Books string `json:"books"`
	// AcknowledgedSince are responses that the books process acknowledged, and so has in its store, since it last gave its
	// figures. They count as applied and aggregated while it is away; always 0 while it is connected.
	AcknowledgedSince uint64 `json:"acknowledged_since,omitempty"`
}

const (
	// retryTime bounds for how long figures are read again because an epoch was retired, or a response recorded, between two
	// readings; retryPause is the time between two tries. How long the books process takes to answer does not count, which may be
	// seconds while it opens its store, up to askTimeMax in all.
	retryTime  = 2 * time.Second
	retryPause = 5 * time.Millisecond
	askTimeMax = 15 * time.Second
	// answerTime bounds one answer of the books process.
	answerTime = 5 * time.Second
)

// Joiner joins the figures of the spools with those of the store. It belongs to the traffic process.
type Joiner struct {
	// Spools are those of this process.
	Spools *spool.Set
	// Ask asks the books process for its [View], as JSON.
	Ask func(ctx context.Context) ([]byte, error)
	// HadStore is whether the data directory had a store when this process started: then its figures are not known until the books
	// process has given them once.
	HadStore bool

	last atomic.Pointer[lastView] // nil until the books process has answered once
}

// Answer reads both sides until they belong together. While the books process is away, the last figures of its store count, together with
// what it has acknowledged since: that is in the store, and no longer in the spools.
func (j *Joiner) Answer(ctx context.Context) (*Answer, error) {
	var figures Accounting
	var viewErr error
	var known bool // figures are all that was ever counted
	began, asking := time.Now(), time.Duration(0)
	for ; ; time.Sleep(retryPause) {
		before, err := j.spoolsNow(ctx)
		if err != nil {
			return nil, err
		}
		var last *lastView
		asked := time.Now()
		last, viewErr = j.askView(ctx, before)
		asking += time.Since(asked)
		ledgers, err := j.ledgersBeside(ctx, last)
		if err != nil {
			return nil, err
		}
		view := last.view
		known = last.known && complete(last.before.ledgers, ledgers, view.Ledgers)
		figures = Account(ledgers, view)
		// An epoch that was retired between the two readings is in neither; while the traffic goes on, a response may be
		// counted in one figure and not yet in the next. Neither is so a moment later.
		if figures.Balanced && complete(before.ledgers, ledgers, view.Ledgers) || viewErr != nil || ctx.Err() != nil ||
			time.Since(began)-asking > retryTime || asking > askTimeMax {
			break
		}
	}
	a := &Answer{Accounting: figures, Books: "connected"}
	if viewErr != nil {
		a.Books = viewErr.Error()
		a.AcknowledgedSince = a.Acknowledge()
		// Where nothing could be recorded, as in a data directory that cannot be used, nothing is on its way either.
		a.Settled = a.Settled && a.Recorded == 0 && known
		if !known {
			a.Books += "; not all that its store holds is known yet, and what is not known is missing here"
		}
	}
	return a, nil
}

// ledgersBeside are the spools' ledgers relative to a view, with those of the epochs that were retired since it was asked for.
// What was retired before is in it, or lost with its store.
func (j *Joiner) ledgersBeside(ctx context.Context, last *lastView) ([]spool.Ledger, error) {
	ledgers, err := j.Spools.Ledgers(ctx, last.view.Applied)
	if err != nil {
		return nil, fmt.Errorf("read the spools' figures: %w", err)
	}
	for _, l := range j.Spools.Retired()[last.before.retired:] {
		if !complete([]spool.Ledger{l}, ledgers, last.view.Ledgers) {
			ledgers = append(ledgers, l)
		}
	}
	return ledgers, nil
}

// spoolsBefore are the spools before a view was asked for.
type spoolsBefore struct {
	retired int // how many epochs had been retired since the start; read first
	ledgers []spool.Ledger
}

func (j *Joiner) spoolsNow(ctx context.Context) (now spoolsBefore, err error) {
	now.retired = len(j.Spools.Retired())
	if now.ledgers, err = j.Spools.Ledgers(ctx, nil); err != nil {
		err = fmt.Errorf("read the spools' figures: %w", err)
	}
	return now, err
}

// lastView is what the books process said of its store, and the spools before.
type lastView struct {
	view   *View
	before spoolsBefore
	known  bool // view is all that the store held
}

// askView returns the books process's present view or, with an error, its last. While it has never given one that is an empty one,
// as of the start of this process. before are the spools, read just now.
func (j *Joiner) askView(ctx context.Context, before spoolsBefore) (*lastView, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	body, err := j.Ask(ctx)
	if err == nil {
		now := &lastView{view: &View{}, before: before, known: true}
		if err = json.Unmarshal(body, now.view); err == nil {
			j.last.Store(now)
			return now, nil
		}
	}
	if last := j.last.Load(); last != nil {
		return last, err
	}
	return &lastView{view: &View{}, known: !j.HadStore}, err
}

// complete reports whether every epoch that was there before is in one of the two lists.
func complete(before, active, stored []spool.Ledger) bool {
	for _, b := range before {
		same := func(l spool.Ledger) bool { return l.Epoch == b.Epoch }
		if !slices.ContainsFunc(active, same) && !slices.ContainsFunc(stored, same) {
			return false
		}
	}
	return true
}

// Refresh asks for the store's figures if there are none yet, or if an epoch was retired since: its figures are in the store, and no
// longer in the spools.
func (j *Joiner) Refresh(ctx context.Context) error {
	before, err := j.spoolsNow(ctx)
	if err != nil {
		return err
	}
	if last := j.last.Load(); last == nil || !complete(last.before.ledgers, before.ledgers, last.view.Ledgers) {
		_, err = j.askView(ctx, before)
	}
	return err
}
