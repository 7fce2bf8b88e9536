package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	connectionsDefault = 16
	timeoutDefault     = 30 * time.Second
	connectDefault     = 30 * time.Second
	idleDefault        = 5 * time.Second
	bodyBytesDefault   = 1 << 20
	errorsMax          = 8
)

// Request is filled in by [Options.Request] for each nonce. It is reset before each call and owned by the connection.
type Request struct {
	Method string // default GET
	Path   []byte // request target; append to Path[:0]
	Header []byte // additional header lines, each ending in CR LF; append to Header[:0]. Host and Content-Length are added
	Body   []byte // sent with a Content-Length if it is not empty, or if the method is POST, PUT or PATCH

	// AbandonAfter, if positive, is the time that the client waits for the whole response. After that, it closes the connection, and the
	// request counts as abandoned, not as failed. A response that arrives in time is counted normally.
	AbandonAfter time.Duration
}

// Options configure [Run]. The zero value of a field means its default.
type Options struct {
	Address     string        // host:port to connect to; required
	Dialer      net.Dialer    // makes the connections; may be zero
	TLS         *tls.Config   // the connections use TLS with this configuration, which needs a ServerName; nil: no TLS
	Host        string        // Host header; default Address
	Connections int           // default 16
	Requests    uint64        // exact number of requests to send; 0: until Duration has passed or the context ends
	Duration    time.Duration // stop sending after this time; 0: no limit. If Requests is also set, the one that is reached first applies

	// Rate is the number of requests per second over all connections; 0 means full speed. With a rate, latency is measured from the time
	// at which the request was due. If it were measured from the actual start, a stalled server would merely delay later requests, and
	// the latency would not show the stall.
	Rate float64

	FirstNonce uint64 // nonces are FirstNonce, FirstNonce+1, …

	// Request describes the request for a nonce. Verify checks a complete response. All connections call both concurrently. The default
	// request is a GET of [Path]; by default, any response with status 200 is accepted.
	Request func(nonce uint64, r *Request)
	Verify  func(nonce uint64, r *Response) error

	Sent     *Bitmap   // collects the nonces sent; may be nil
	Received *Bitmap   // collects the nonces with a complete response, accepted by Verify or not; may be nil
	Counters *Counters // live figures; may be nil

	Timeout        time.Duration // for a request and its response, which end at most a second later; default 30s
	ConnectTimeout time.Duration // maximum time to retry a connection; then Run gives up; default 30s
	IdleTimeout    time.Duration // a connection that has been idle for longer is replaced before its next use; default 5s
	BodyBytesMax   int           // number of bytes of a body that are kept for Verify; default 1 MiB
}

// ErrNoConnection is returned if no connection could be made within [Options.ConnectTimeout].
var ErrNoConnection = errors.New("no connection")

// Path appends the default path of a nonce. [Nonce] is its inverse.
func Path(dst []byte, nonce uint64) []byte {
	return strconv.AppendUint(append(dst, "/n/"...), nonce, 10)
}

// Nonce returns the nonce that [Path] appended to a path.
func Nonce(path []byte) (nonce uint64, ok bool) {
	_, digits, ok := bytes.Cut(path, []byte("/n/"))
	if !ok {
		return 0, false
	}
	nonce, err := strconv.ParseUint(string(digits), 10, 64)
	return nonce, err == nil
}

// ExpectBody returns a function for [Options.Verify] that accepts only this status and this body.
func ExpectBody(status int, body []byte) func(uint64, *Response) error {
	return func(_ uint64, r *Response) error {
		if r.Status != status {
			return fmt.Errorf("status %d, want %d", r.Status, status)
		}
		if !bytes.Equal(r.Body, body) {
			return fmt.Errorf("body of %d bytes differs from the %d expected", r.BodyBytes, len(body))
		}
		return nil
	}
}

// Run sends the requests and waits for their responses. When ctx is done or Duration has passed, it sends no more requests and completes
// those in flight; this is not an error. The report is valid even if there is an error.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r := &run{Options: o, start: time.Now(), giveUp: giveUp}
	defer context.AfterFunc(ctx, func() { r.stopped.Store(true) })()

	workers := make([]*worker, o.Connections)
	var group sync.WaitGroup
	for i := range workers {
		workers[i] = newWorker(r)
		group.Go(func() { workers[i].drive(ctx) })
	}
	group.Wait()

	report := &Report{Failed: map[Kind]uint64{}, Statuses: map[int]uint64{}, Elapsed: time.Since(r.start)}
	for _, w := range workers {
		report.merge(&w.report)
	}
	if err := context.Cause(ctx); errors.Is(err, ErrNoConnection) {
		return report, fmt.Errorf("load: %w", err)
	}
	return report, nil
}

func (o *Options) complete() error {
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if last := o.FirstNonce + o.Requests; (o.Sent != nil || o.Received != nil) && (last < o.FirstNonce || last > NonceMax) {
		return fmt.Errorf("nonces up to %d do not fit in a bitmap (%d)", last, uint64(NonceMax))
	}
	setDefault(&o.Host, o.Address)
	setDefault(&o.Connections, connectionsDefault)
	setDefault(&o.Timeout, timeoutDefault)
	setDefault(&o.ConnectTimeout, connectDefault)
	setDefault(&o.IdleTimeout, idleDefault)
	setDefault(&o.BodyBytesMax, bodyBytesDefault)
	if o.Connections < 0 || o.Rate < 0 || o.BodyBytesMax < 0 {
		return errors.New("connections, rate and body bytes must not be negative")
	}
	if o.Request == nil {
		o.Request = func(nonce uint64, r *Request) { r.Path = Path(r.Path, nonce) }
	}
	if o.Verify == nil {
		o.Verify = func(_ uint64, r *Response) error {
			if r.Status != 200 {
				return fmt.Errorf("status %d, want 200", r.Status)
			}
			return nil
		}
	}
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// run is the state that the connections of one [Run] share.
type run struct {
	Options // read-only
	start   time.Time
	giveUp  context.CancelCauseFunc
	taken   atomic.Uint64 // nonces handed out
	stopped atomic.Bool   // ctx is done
}

// take returns the next nonce and waits until it is due. ok is false if there are no more to send.
func (r *run) take(ctx context.Context) (nonce uint64, due time.Time, ok bool) {
	if r.stopped.Load() {
		return 0, due, false
	}
	n := r.taken.Add(1) - 1
	if r.Requests > 0 && n >= r.Requests {
		return 0, due, false
	}
	if r.Rate > 0 {
		due = r.start.Add(time.Duration(float64(n) / r.Rate * float64(time.Second)))
		if !sleep(ctx, time.Until(due)) {
			return 0, due, false
		}
	}
	return r.FirstNonce + n, due, true
}

// sleep waits for d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
