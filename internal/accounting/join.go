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
	// Books is "connected", or why the figures of the store are older ones.
	Books string `json:"books"`
	// AcknowledgedSince are responses that the books process has acknowledged, and so has in its store, since it last sent its figures.
	// They count as applied and aggregated while it does not run. It is 0 while it is connected.
	AcknowledgedSince uint64 `json:"acknowledged_since,omitempty"`
}

const (
	// retryTime is how long figures are read again if an epoch was retired, or a response recorded, between two readings. retryPause is
	// the time between two attempts. The time in which the books process answers does not count, because it can be seconds while it
	// opens its store; askTimeMax limits it.
	retryTime  = 2 * time.Second
	retryPause = 5 * time.Millisecond
	askTimeMax = 15 * time.Second
	// answerTime limits one response of the books process.
	answerTime = 5 * time.Second
)

// Joiner combines the figures of the spools with those of the store. It is part of the traffic process.
type Joiner struct {
	// Spools are those of this process.
	Spools *spool.Set
	// Ask asks the books process for its [View], as JSON.
	Ask func(ctx context.Context) ([]byte, error)
	// HadStore says that the data directory had a store when this process started. Then the store's figures are unknown until the books
	// process has sent them.
	HadStore bool

	last atomic.Pointer[lastView] // nil until the books process has answered once
}

// Answer reads both sides until they match. While the books process does not run, it uses the last figures of the store, and adds
// the responses that the books process has acknowledged since, which are in the store and no longer in the spools.
func (j *Joiner) Answer(ctx context.Context) (*Answer, error) {
	var figures Accounting
	var viewErr error
	var known bool // figures contain everything that was ever counted
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
		// An epoch that was retired between the two readings is in neither. During traffic, a response may be in one figure and not
		// yet in the next. A moment later, both are resolved.
		if figures.Balanced && complete(before.ledgers, ledgers, view.Ledgers) || viewErr != nil || ctx.Err() != nil ||
			time.Since(began)-asking > retryTime || asking > askTimeMax {
			break
		}
	}
	a := &Answer{Accounting: figures, Books: "connected"}
	if viewErr != nil {
		a.Books = viewErr.Error()
		a.AcknowledgedSince = a.Acknowledge()
		// If nothing was recorded, as in a data directory that cannot be used, nothing is in flight.
		a.Settled = a.Settled && a.Recorded == 0 && known
		if !known {
			a.Books += "; not all figures of its store are known yet, and the unknown ones are missing here"
		}
	}
	return a, nil
}

// ledgersBeside returns the spools' ledgers relative to a view, and those of epochs that were retired after the view was requested.
// Epochs that were retired earlier are in the view, or were lost with their store.
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

// spoolsBefore is the state of the spools before a view was requested.
type spoolsBefore struct {
	retired int // number of epochs retired since the start; read first
	ledgers []spool.Ledger
}

func (j *Joiner) spoolsNow(ctx context.Context) (now spoolsBefore, err error) {
	now.retired = len(j.Spools.Retired())
	if now.ledgers, err = j.Spools.Ledgers(ctx, nil); err != nil {
		err = fmt.Errorf("read the spools' figures: %w", err)
	}
	return now, err
}

// lastView is a view of the books process, and the spools before it.
type lastView struct {
	view   *View
	before spoolsBefore
	known  bool // view is everything in the store
}

// askView returns the current view of the books process, or its last one with an error. Until it has sent one, askView returns an
// empty view. before is the state of the spools, read just before.
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

// complete reports whether every epoch of before is in one of the two lists.
func complete(before, active, stored []spool.Ledger) bool {
	for _, b := range before {
		same := func(l spool.Ledger) bool { return l.Epoch == b.Epoch }
		if !slices.ContainsFunc(active, same) && !slices.ContainsFunc(stored, same) {
			return false
		}
	}
	return true
}

// Refresh asks for the store's figures if there are none yet, or if an epoch was retired since, because its figures are then in the
// store and no longer in the spools.
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
