//go:build faults

package traffic

import (
	"os"
	"strconv"
	"sync/atomic"

	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/proxy"
)

// loseEnv holds the number of the event, from 1, that is lost on its way from the proxy to the spool, so that a test can see
// whether anybody notices.
const loseEnv = "WAYSIDE_FAULT_LOSE"

func recorderFor(r proxy.Recorder) proxy.Recorder {
	nth, err := strconv.ParseUint(os.Getenv(loseEnv), 10, 64)
	if err != nil {
		return r
	}
	return &losing{Recorder: r, nth: nth}
}

type losing struct {
	proxy.Recorder
	nth  uint64
	seen atomic.Uint64
}

func (l *losing) Record(e *event.Event) {
	if l.seen.Add(1) != l.nth {
		l.Recorder.Record(e)
	}
}
