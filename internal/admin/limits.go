package admin

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// What clients of the two listeners can take. Memory is bounded by connections times buffers, plus metricsBytesMax.
const (
	// readTimeout is for a request from its first byte, or from the beginning of the connection, to its end.
	readTimeout = 5 * time.Second
	// writeTimeout is for an answer; of one that is relayed, for each part of it.
	writeTimeout = 10 * time.Second
	// relaysMax is the number of connections that are relayed to the books process at a time, streams included; fewer than
	// link.ConnsMax, so that this process can always ask it.
	relaysMax = 96
	// workMax is the number of requests at a time that this process works on by itself: accounting, verify, reload, forget.
	workMax = 16
	// waitersMax is the number of requests that wait for a gathering under way.
	waitersMax = 16
	// metricsBytesMax bounds the bytes of different gatherings that are being sent, by one gathering.
	metricsBytesMax = 4 << 20
	// wrongTokenDelay is how long a client with a wrong token waits for its answer.
	wrongTokenDelay = 500 * time.Millisecond
)

// limits of one listener.
type limits struct {
	name           string
	probes         bool
	connsMax       int // fewer where descriptors are few
	perAddress     int
	headerBytesMax int
	bodyBytesMax   int
	idleTimeout    time.Duration
	bufferBytes    int // of the kernel, for what is sent; less stalls where packets are large, as on loopback
}

var (
	// A browser sends an application's cookies to every port of localhost, so headers may be long.
	adminLimits = limits{
		name: "admin", connsMax: 128, perAddress: 64, headerBytesMax: 16 << 10, bodyBytesMax: 64 << 10, idleTimeout: 2 * time.Minute,
		bufferBytes: 64 << 10,
	}
	probesLimits = limits{
		name: "probes", probes: true, connsMax: 64, perAddress: 32, headerBytesMax: 4 << 10, bodyBytesMax: 1 << 10, idleTimeout: 2 * time.Minute,
		bufferBytes: 64 << 10,
	}
)

// connsMin is the least number of connections of a listener, however few descriptors there are.
const connsMin = 16

func (l *limits) connections(log *slog.Logger) connlimit.Options {
	total := connlimit.Share(connsMin, l.connsMax)
	return connlimit.Options{
		Name: l.name, Total: total, PerAddress: max(min(l.perAddress, total/2), 1), BufferBytes: l.bufferBytes, Unread: writeTimeout, Logger: log,
	}
}

// lazy is formatted only where it is logged.
type lazy struct {
	format string
	args   []any
}

func (l lazy) String() string { return fmt.Sprintf(l.format, l.args...) }
