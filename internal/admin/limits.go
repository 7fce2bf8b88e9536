package admin

import (
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// Limits for the clients of both listeners. Together, the clients use at most connections times buffers of memory, plus
// metricsBytesMax.
const (
	// readTimeout limits a request, from its first byte or the start of its connection to its end.
	readTimeout = 5 * time.Second
	// writeTimeout limits the time for sending a response. For a relayed response, it limits the time for each part.
	writeTimeout = 10 * time.Second
	// relaysMax limits the connections that are relayed to the books process, including streams. It is less than
	// link.ConnsMax, so that this process can always send its own requests.
	relaysMax = 96
	// workMax limits how many requests for accounting, verify, reload and forget run at the same time.
	workMax = 16
	// waitersMax limits how many requests wait for metrics or checks.
	waitersMax = 16
	// metricsBytesMax limits the bytes of metrics that are being sent. A single text may exceed it.
	metricsBytesMax = 4 << 20
	// wrongTokenDelay delays the response to a wrong token.
	wrongTokenDelay = 500 * time.Millisecond
)

// limits of one listener.
type limits struct {
	name           string
	probes         bool
	connsMax       int // less if the process is allowed only few descriptors
	perAddress     int
	headerBytesMax int
	bodyBytesMax   int
	idleTimeout    time.Duration
	bufferBytes    int // kernel send buffer; with a smaller one, large packets stall, as on loopback
}

var (
	// Browsers send the cookies of an application to every port of localhost, so headers can be long.
	adminLimits = limits{
		name: "admin", connsMax: 128, perAddress: 64, headerBytesMax: 16 << 10, bodyBytesMax: 64 << 10, idleTimeout: 2 * time.Minute,
		bufferBytes: 64 << 10,
	}
	probesLimits = limits{
		name: "probes", probes: true, connsMax: 64, perAddress: 32, headerBytesMax: 4 << 10, bodyBytesMax: 1 << 10, idleTimeout: 2 * time.Minute,
		bufferBytes: 64 << 10,
	}
)

// connsMin is the minimum limit of connections, however few descriptors there are.
const connsMin = 16

func (l *limits) connections(log *slog.Logger) connlimit.Options {
	total := connlimit.Share(connsMin, l.connsMax)
	return connlimit.Options{
		Name: l.name, Total: total, PerAddress: max(min(l.perAddress, total/2), 1), BufferBytes: l.bufferBytes, Unread: writeTimeout, Logger: log,
	}
}
