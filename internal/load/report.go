package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Kind is the way in which a request that was sent failed.
type Kind string

// The kinds of failure. All except [KindVerify] mean that the response did not arrive completely.
const (
	KindWrite     Kind = "write"     // the request was only partly written
	KindClosed    Kind = "closed"    // the connection ended before the first byte of the response
	KindReset     Kind = "reset"     // the connection was reset before or during the response
	KindTruncated Kind = "truncated" // the connection ended during the response
	KindTimeout   Kind = "timeout"   // no complete response within Options.Timeout
	KindMalformed Kind = "malformed" // not a valid HTTP/1.1 response, or followed by excess bytes
	KindVerify    Kind = "verify"    // complete, but rejected by Options.Verify
)

// Counters are the live figures of a run, for progress displays. They only grow.
type Counters struct {
	Sent      atomic.Uint64 // number of requests of which the kernel has accepted at least one byte
	Received  atomic.Uint64 // number of responses received in full, accepted by Options.Verify or not
	Completed atomic.Uint64 // number of responses received in full and accepted by Options.Verify
	Abandoned atomic.Uint64 // number of requests that the client abandoned deliberately, see Request.AbandonAfter
	Failed    atomic.Uint64 // number of all other requests sent
}

// Report holds the outcomes of a run: Sent = Completed + Abandoned + the sum of Failed.
type Report struct {
	Sent      uint64
	Received  uint64 // Completed + Failed[KindVerify]
	Completed uint64
	Abandoned uint64
	Failed    map[Kind]uint64
	Statuses  map[int]uint64 // statuses of the responses received in full
	Errors    []string       // the first few failures, described

	BodyBytes  uint64 // body bytes of the responses received in full
	Dials      uint64 // connections opened
	DialErrors uint64 // failed attempts; they do not make a request fail
	DialError  error  // one of them
	Elapsed    time.Duration
	Latency    Histogram // latency of the responses received in full; see Options.Rate for the time from which it is measured
}

// FailedTotal returns the sum of all failures.
func (r *Report) FailedTotal() uint64 {
	var n uint64
	for _, f := range r.Failed {
		n += f
	}
	return n
}

// PerSecond returns the rate of complete responses.
func (r *Report) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Received) / r.Elapsed.Seconds()
}

// String returns the report as one line, followed by a line for each error.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %d, completed %d, %.0f/s, p50 %v, p99 %v", r.Sent, r.Completed, r.PerSecond(),
		r.Latency.Quantile(0.5).Round(time.Microsecond), r.Latency.Quantile(0.99).Round(time.Microsecond))
	if r.Abandoned > 0 {
		fmt.Fprintf(&b, ", abandoned %d", r.Abandoned)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Failed)) {
		fmt.Fprintf(&b, ", %s %d", k, r.Failed[k])
	}
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "\n  %s", e)
	}
	return b.String()
}

func (r *Report) merge(o *Report) {
	r.Sent += o.Sent
	r.Received += o.Received
	r.Completed += o.Completed
	r.Abandoned += o.Abandoned
	r.BodyBytes += o.BodyBytes
	r.Dials += o.Dials
	r.DialErrors += o.DialErrors
	r.DialError = cmp.Or(r.DialError, o.DialError)
	r.Latency.Merge(&o.Latency)
	for k, n := range o.Failed {
		r.Failed[k] += n
	}
	for s, n := range o.Statuses {
		r.Statuses[s] += n
	}
	r.Errors = append(r.Errors, o.Errors...)
	r.Errors = r.Errors[:min(len(r.Errors), errorsMax)]
}

// kindOf classifies an error that occurred while a response was being read. begun must be true if any byte of the response had arrived.
func kindOf(err error, begun bool) Kind {
	var netErr net.Error
	switch {
	case errors.Is(err, errMalformed):
		return KindMalformed
	case errors.As(err, &netErr) && netErr.Timeout():
		return KindTimeout
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return KindReset
	case errors.Is(err, io.EOF) && !begun:
		return KindClosed
	default:
		return KindTruncated
	}
}
