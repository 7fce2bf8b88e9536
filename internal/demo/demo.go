// Package demo sends sample traffic through a running wayside and checks that the books add up.
//
// Its requests are sent by the client of internal/load, which knows the exact number of complete responses. Afterwards, the demo compares
// four figures from four sources:
//
//	sent        responses that the client received to the last byte   (this package)
//	recorded    responses that the traffic process has counted        (/api/v1/accounting)
//	aggregated  the sum over the statistics per path                  (/api/v1/paths)
//	archived    lines in the archive, counted by reading it           (Options.CountArchive)
//
// If they are not equal, the error of [Run] wraps [ErrDisagree]. The demo also works with a data directory that is already in use,
// because it compares the increases since the start.
//
// Requests whose client disconnects before the response ([Options.Abandon]) are not included in the four figures. They are sent to a
// separate path, and the row of this path shows how many of them are in the books.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

const (
	connectionsDefault = 32
	rateDefault        = 300.0
	settleDefault      = 30 * time.Second
	topPaths           = 10
)

// ErrDisagree is returned by [Run] when the figures do not add up.
var ErrDisagree = errors.New("the figures do not agree")

// Options configure [Run]. The zero value of a field means its default.
type Options struct {
	// Requests ends the demo after exactly this many requests, at full speed. Duration ends it after this time. If both are set,
	// whichever is reached first ends it; if neither is set, it runs until ctx is done.
	Requests uint64
	Duration time.Duration

	Rate        float64 // requests per second; default: full speed with Requests, otherwise 300
	Connections int     // default 32
	Seed        uint64  // with the same seed, the same requests are sent
	Abandon     bool    // one client in a hundred disconnects before its response

	ProxyURL   string // http URL at which wayside listens; required
	AdminURL   string // URL of the admin listener; required
	ArchiveURL string // only shown in the summary

	// Archive archives all events. CountArchive reads the archive and counts its events, excluding drop records. Both are required. If
	// the data directory already has events, Archive is also called before the traffic begins.
	Archive      func(ctx context.Context) error
	CountArchive func(ctx context.Context) (lines int, err error)

	Out           io.Writer     // required; on a terminal, progress is drawn in place
	Output        string        // "text" (default) or "json": one object, no progress
	Temporary     bool          // the data is removed at the end, so the summary does not mention it
	SettleTimeout time.Duration // time that the books may take to settle after the last request; default 30s

	HTTPClient *http.Client // for the admin listener; default http.DefaultClient
}

// Run sends the traffic, waits until the books have settled, archives, and writes the summary to o.Out. When ctx is done, only the
// traffic stops: requests in flight are completed and the summary is written, so wayside must keep running until Run returns.
func Run(ctx context.Context, o Options) error {
	address, err := o.complete()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demo{Options: o, books: books{client: o.HTTPClient, admin: o.AdminURL}}
	base, err := d.baseline(ctx)
	if err != nil {
		return fmt.Errorf("demo: read the books before the start: %w", err)
	}
	report, err := d.drive(ctx, address)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s, err := d.summarise(context.WithoutCancel(ctx), base, report)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := s.write(o.Out, o.Output); err != nil {
		return fmt.Errorf("demo: write the summary: %w", err)
	}
	if len(s.Problems) > 0 {
		return fmt.Errorf("demo: %w: %s", ErrDisagree, s.Problems[0])
	}
	return nil
}

func (o *Options) complete() (address string, err error) {
	proxy, err := url.Parse(o.ProxyURL)
	if err != nil || proxy.Scheme != "http" || proxy.Port() == "" {
		return "", fmt.Errorf("proxy URL %q: must be http://host:port", o.ProxyURL)
	}
	if o.AdminURL == "" || o.Archive == nil || o.CountArchive == nil || o.Out == nil {
		return "", errors.New("AdminURL, Archive, CountArchive and Out are required")
	}
	if o.Output == "" {
		o.Output = "text"
	}
	if o.Output != "text" && o.Output != "json" {
		return "", fmt.Errorf("output %q: must be text or json", o.Output)
	}
	if o.Rate == 0 && o.Requests == 0 {
		o.Rate = rateDefault
	}
	if o.Connections == 0 {
		o.Connections = connectionsDefault
	}
	if o.SettleTimeout == 0 {
		o.SettleTimeout = settleDefault
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	return proxy.Host, nil
}

type demo struct {
	Options
	books books
}

// figures are the values to compare, as totals since the data directory was created.
type figures struct {
	recorded   uint64 // from the accounting
	aggregated uint64 // summed over the rows of /api/v1/paths
	accounting accounting
	abandoned  uint64 // part of recorded: rows under livePrefix
	archived   uint64 // number of lines counted
	rows       []row
}

// baseline reads the figures before the traffic. It first archives older events, so only events of the demo are archived afterwards.
func (d *demo) baseline(ctx context.Context) (figures, error) {
	if _, err := d.books.settled(ctx, 0, d.SettleTimeout); err != nil {
		return figures{}, err
	}
	a, err := d.books.accounting(ctx)
	if err != nil {
		return figures{}, err
	}
	if a.Applied > a.Archived {
		if err := d.Archive(ctx); err != nil {
			return figures{}, fmt.Errorf("archive older events: %w", err)
		}
	}
	return d.figures(ctx)
}

func (d *demo) figures(ctx context.Context) (f figures, err error) {
	if f.accounting, err = d.books.accounting(ctx); err != nil {
		return f, err
	}
	f.recorded = f.accounting.Recorded
	paths, err := d.books.paths(ctx)
	if err != nil {
		return f, err
	}
	f.aggregated, f.rows = paths.sum(), paths.Paths
	for _, r := range f.rows {
		if r.isLive() {
			f.abandoned += r.Count
		}
	}
	lines, err := d.CountArchive(ctx)
	if err != nil {
		return f, fmt.Errorf("count the archive: %w", err)
	}
	f.archived = uint64(max(lines, 0))
	return f, nil
}

func (d *demo) drive(ctx context.Context, address string) (*load.Report, error) {
	t := newTraffic(d.Seed, d.Abandon)
	var counters load.Counters
	p := newProgress(&d.Options, &counters)
	defer p.stop()
	return load.Run(ctx, load.Options{
		Address: address, Host: demoHost, Connections: d.Connections,
		Requests: d.Requests, Duration: d.Duration, Rate: d.Rate,
		Request: t.request, Verify: t.verify, Counters: &counters,
	})
}

// summarise waits for the books, archives, reads all figures again and compares them.
func (d *demo) summarise(ctx context.Context, base figures, report *load.Report) (*summary, error) {
	target := base.accounting.Responses + report.Sent
	settled, err := d.books.settled(ctx, target, d.SettleTimeout)
	if err != nil {
		return nil, err
	}
	if err := d.Archive(ctx); err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	now, err := d.figures(ctx)
	if err != nil {
		return nil, err
	}
	return compare(&d.Options, report, base, now, settled), nil
}
