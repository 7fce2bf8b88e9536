package load

import (
	"bytes"
	"context"
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

// Request is what [Options.Request] fills in for one nonce. It is reset before each call and owned by the connection.
type Request struct {
	Method string // default GET
	Path   []byte // request target; append to Path[:0]
	Header []byte // further header lines, each ended by CR LF; append to Header[:0]. Host and Content-Length are added
	Body   []byte // sent with a Content-Length when not empty or when the method is POST, PUT or PATCH

	// AbandonAfter, when above 0, is how long the client waits for the whole response. Then it closes the connection and the
	// request counts as abandoned, not as failed. A response that arrives in time counts like any other.
	AbandonAfter time.Duration
}

// Options configure [Run]. The zero value of a field means its default.
type Options struct {
	Address     string        // host:port to connect to; required
	Dialer      net.Dialer    // makes the connections; the zero value will do
	Host        string        // Host header; default Address
	Connections int           // default 16
	Requests    uint64        // exact number of requests to send; 0: as many as fit until Duration or the context ends
	Duration    time.Duration // stop sending after this time; 0: no limit. With Requests, whichever comes first

	// Rate is the number of requests a second over all connections; 0: full speed. With a rate, latency counts from the
	// moment the request was due, so that a server that stalls cannot hide the requests it kept from being sent.
	Rate float64

	FirstNonce uint64 // nonces are FirstNonce, FirstNonce+1, …

	// Request describes the request for a nonce, Verify judges the response that was received in full. Both are called from
	// all connections at once. Default: GET of [Path], and any 200.
	Request func(nonce uint64, r *Request)
	Verify  func(nonce uint64, r *Response) error

	Sent     *Bitmap   // collects the nonces sent; nil: not wanted
	Received *Bitmap   // collects the nonces whose response was received in full, whatever Verify said
	Counters *Counters // live figures; nil: not wanted

	Timeout        time.Duration // for one exchange, at most a second later; default 30s
	ConnectTimeout time.Duration // how long to go on trying for a connection before Run gives up; default 30s
	IdleTimeout    time.Duration // a connection unused for longer is replaced before it is used; default 5s
	BodyBytesMax   int           // bytes of a body kept for Verify; default 1 MiB
}

// ErrNoConnection is returned when no connection could be had for [Options.ConnectTimeout].
var ErrNoConnection = errors.New("no connection")

// Path appends the default path of a nonce, which [Nonce] reads back.
func Path(dst []byte, nonce uint64) []byte {
	return strconv.AppendUint(append(dst, "/n/"...), nonce, 10)
}

// Nonce returns the nonce of a path made by [Path], whatever it was appended to.
func Nonce(path []byte) (nonce uint64, ok bool) {
	_, digits, ok := bytes.Cut(path, []byte("/n/"))
	if !ok {
		return 0, false
	}
	nonce, err := strconv.ParseUint(string(digits), 10, 64)
	return nonce, err == nil
}

// ExpectBody returns a function for [Options.Verify] that accepts this status and this body only.
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

// Run sends the requests and waits for their responses. It returns when all have ended. When ctx ends or Duration has passed
// it sends no more, finishes those under way, and returns no error for that. The report is valid beside an error too.
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

// run is what the connections of one [Run] share.
type run struct {
	Options // read-only
	start   time.Time
	giveUp  context.CancelCauseFunc
	taken   atomic.Uint64 // nonces handed out
	stopped atomic.Bool   // ctx is done
}

// take hands out the next nonce and waits until it is due. ok is false when there are no more to send.
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

// sleep waits for d and reports whether ctx lasted as long.
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
