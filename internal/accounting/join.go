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

// Answer is the response of GET /api/v1/accounting.
type Answer struct {
	Accounting
	// Books is "connected", or why the figures of the store are not current.
	Books string `json:"books"`
	// AcknowledgedSince is the number of responses that the books process has acknowledged since it last sent its figures; its store
	// therefore has them. While the books process is not running, these responses count as applied and aggregated. While it is connected,
	// the number is 0.
	AcknowledgedSince uint64 `json:"acknowledged_since,omitempty"`
}

const (
	// retryTime limits the time spent on reading the figures again and again if, between two readings, an epoch was retired or a response
	// was recorded. retryPause is the pause between two attempts. Time spent waiting for the books process is not included, because that
	// process can need seconds to open its store; askTimeMax limits this time.
	retryTime  = 2 * time.Second
	retryPause = 5 * time.Millisecond
	askTimeMax = 15 * time.Second
	// answerTime limits the time that the books process may take for one response.
	answerTime = 5 * time.Second
)

// Joiner combines the figures of the spools with those of the store. It is part of the traffic process.
type Joiner struct {
	// Spools are the spools of this process.
	Spools *spool.Set
	// Ask requests the [View] of the books process, as JSON.
	Ask func(ctx context.Context) ([]byte, error)
	// HadStore means that the data directory had a store when this process started. In that case, the store's figures are unknown until
	// the books process has sent them.
	HadStore bool

	last atomic.Pointer[lastView] // nil until the books process has sent a view
}

// Answer reads both sides until they match. While the books process is not running, it uses the last figures of the store, and adds the
// responses that the books process acknowledged after sending them: these are in the store and no longer in the spools.
func (j *Joiner) Answer(ctx context.Context) (*Answer, error) {
	var figures Accounting
	var viewErr error
	var known bool // whether the figures include everything that has ever been counted
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
		// An epoch that was retired between the two readings is in neither of them. During traffic, a response can be in one figure but
		// not yet in the next. Another reading a moment later solves both problems.
		if figures.Balanced && complete(before.ledgers, ledgers, view.Ledgers) || viewErr != nil || ctx.Err() != nil ||
			time.Since(began)-asking > retryTime || asking > askTimeMax {
			break
		}
	}
	a := &Answer{Accounting: figures, Books: "connected"}
	if viewErr != nil {
		a.Books = viewErr.Error()
		a.AcknowledgedSince = a.Acknowledge()
		// In a data directory that cannot be used, nothing was recorded, so nothing is in flight.
		a.Settled = a.Settled && a.Recorded == 0 && known
		if !known {
			a.Books += "; some figures of its store are not known yet and are missing here"
		}
	}
	return a, nil
}

// ledgersBeside returns the spools' ledgers relative to a view, and the ledgers of epochs that were retired after the view had been
// requested. Epochs that were retired earlier are either in the view or were lost with their store.
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

// spoolsBefore is the state of the spools just before a view was requested.
type spoolsBefore struct {
	retired int // number of epochs retired since the start; must be read first
	ledgers []spool.Ledger
}

func (j *Joiner) spoolsNow(ctx context.Context) (now spoolsBefore, err error) {
	now.retired = len(j.Spools.Retired())
	if now.ledgers, err = j.Spools.Ledgers(ctx, nil); err != nil {
		err = fmt.Errorf("read the spools' figures: %w", err)
	}
	return now, err
}

// lastView is a view from the books process, and the state of the spools just before it.
type lastView struct {
	view   *View
	before spoolsBefore
	known  bool // whether view contains everything in the store
}

// askView returns the current view of the books process or, together with an error, the last one that it sent. If it has never sent a
// view, the view is empty. before is the state of the spools just before the call.
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

// complete reports whether every epoch in before is in one of the other two lists.
func complete(before, active, stored []spool.Ledger) bool {
	for _, b := range before {
		same := func(l spool.Ledger) bool { return l.Epoch == b.Epoch }
		if !slices.ContainsFunc(active, same) && !slices.ContainsFunc(stored, same) {
			return false
		}
	}
	return true
}

// Refresh requests the store's figures if there are none yet. It also does so if an epoch has been retired since the last request,
// because the figures of that epoch are now in the store and no longer in the spools.
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
