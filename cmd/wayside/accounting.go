package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/collector"
	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/datadir"
	"github.com/wayside-proxy/wayside/spool"
)

// answer is GET /api/v1/accounting: the contract's figures, and where the books stand.
type answer struct {
	api.Accounting
	// Books is "connected", or why the figures of the store are those it last gave.
	Books string `json:"books"`
	// AcknowledgedSince are responses that the books process acknowledged, and so has in its store, since it last gave its
	// figures. They count as applied and aggregated while it is away; always 0 while it is connected.
	AcknowledgedSince uint64 `json:"acknowledged_since,omitempty"`
}

// accountingWait bounds for how long figures are read again because an epoch was retired, or a response recorded, between two
// readings; accountingPause lies between two tries. How long the books process takes to answer does not count, which may be
// seconds while it opens its store, up to accountingMax in all.
const (
	accountingWait  = 2 * time.Second
	accountingPause = 5 * time.Millisecond
	accountingMax   = 15 * time.Second
)

// accounting joins what the spools know with what the books process says of the store. While that is away its last word
// stands, with what it has acknowledged since: that is in the store, and in the spools no more.
func (t *traffic) accounting(ctx context.Context) (any, error) {
	var figures api.Accounting
	var viewErr error
	var known bool // figures are all that was ever counted
	began, asking := time.Now(), time.Duration(0)
	for ; ; time.Sleep(accountingPause) {
		before, err := t.spoolsNow(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the spools' figures: %w", err)
		}
		var last *lastView
		asked := time.Now()
		last, viewErr = t.askView(ctx, before)
		asking += time.Since(asked)
		ledgers, err := t.ledgersBeside(ctx, last)
		if err != nil {
			return nil, fmt.Errorf("read the spools' figures: %w", err)
		}
		view := last.view
		known = last.known && complete(last.before.ledgers, ledgers, view.Ledgers)
		figures = api.Account(ledgers, view.Ledgers, view.Totals, view.Aggregated)
		// An epoch that was retired between the two readings is in neither; while the traffic goes on, a response may be
		// counted in one figure and not yet in the next. Neither is so a moment later.
		if figures.Balanced && complete(before.ledgers, ledgers, view.Ledgers) || viewErr != nil || ctx.Err() != nil ||
			time.Since(began)-asking > accountingWait || asking > accountingMax {
			break
		}
	}
	a := answer{Accounting: figures, Books: "connected"}
	if viewErr != nil {
		a.Books = viewErr.Error()
		a.AcknowledgedSince = a.Acknowledge()
		// Where nothing could be recorded, as in a data directory that cannot be used, nothing is on its way either.
		a.Settled = a.Settled && a.Recorded == 0 && known
		if !known {
			a.Books += "; not all that its store holds is known yet, and what is not known is missing here"
		}
	}
	a.Settled = a.Settled && t.proxy.Metrics().InFlight == 0
	return a, nil
}

// ledgersBeside are the spools' ledgers relative to a view, with those of the epochs that were retired since it was asked for.
// What was retired before is in it, or lost with its store.
func (t *traffic) ledgersBeside(ctx context.Context, last *lastView) ([]spool.Ledger, error) {
	ledgers, err := t.spool.Ledgers(ctx, last.view.Applied)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what failed
	}
	for _, l := range t.spool.Retired()[last.before.retired:] {
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

func (t *traffic) spoolsNow(ctx context.Context) (now spoolsBefore, err error) {
	now.retired = len(t.spool.Retired())
	now.ledgers, err = t.spool.Ledgers(ctx, nil)
	return now, err //nolint:wrapcheck // the caller says what failed
}

// lastView is what the books process said of its store, and the spools before.
type lastView struct {
	view   *collector.View
	before spoolsBefore
	known  bool // view is all that the store held
}

// askView returns the books process's present view or, with an error, its last. While it has never given one that is an empty one,
// as of the start of this process. before are the spools, read just now.
func (t *traffic) askView(ctx context.Context, before spoolsBefore) (*lastView, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := t.admin.AskBooks(ctx, http.MethodGet, pathView)
	if err == nil {
		now := &lastView{view: &collector.View{}, before: before, known: true}
		if err = json.Unmarshal(body, now.view); err == nil {
			t.view.Store(now)
			return now, nil
		}
	}
	if last := t.view.Load(); last != nil {
		return last, err
	}
	return &lastView{view: &collector.View{}, known: !t.hadStore}, err
}

// hasStore reports whether the data directory has, or may have, a store of earlier runs.
func hasStore(dir string) bool {
	entries, err := os.ReadDir(filepath.Join(dir, datadir.StoreDir))
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR)
}

// complete reports whether every epoch that was there before is in one of the two lists.
func complete(before, active []spool.Ledger, stored []store.Ledger) bool {
	for _, b := range before {
		isActive := slices.ContainsFunc(active, func(l spool.Ledger) bool { return l.Epoch == b.Epoch })
		isStored := slices.ContainsFunc(stored, func(l store.Ledger) bool { return l.Epoch == b.Epoch })
		if !isActive && !isStored {
			return false
		}
	}
	return true
}

// archiveState is the archive's line in /readyz?verbose.
func (t *traffic) archiveState() (ok bool, detail string) {
	if _, silent := t.admin.BooksSilent(); silent {
		return false, "not known while the books process does not answer"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	body, err := t.admin.AskBooks(ctx, http.MethodGet, pathStatus)
	if err != nil {
		return false, "not known while the books process is away"
	}
	var s booksStatus
	if err := json.Unmarshal(body, &s); err != nil {
		return false, err.Error()
	}
	if job := s.Archive.Archive; job.LastError != "" {
		return false, fmt.Sprintf("%s; failed %s, next try %s; nothing is deleted locally until it succeeds",
			job.LastError, counted(job.ConsecutiveFailures, "time"), job.NextTry.UTC().Format(time.RFC3339))
	}
	if s.Archive.Unusable != "" {
		return false, "cannot be used: " + s.Archive.Unusable + "; events stay in the data directory until it can"
	}
	return true, s.Archive.Target + ", " + counted(s.Archive.PendingEvents, "event") + " waiting"
}
