package admin

import (
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// Limits for the clients of both listeners. The memory used for all clients together is at most the number of connections times the size
// of their buffers, plus metricsBytesMax.
const (
	// readTimeout limits the time for receiving a request, from its first byte or the start of its connection to its end.
	readTimeout = 5 * time.Second
	// writeTimeout limits the time for sending a response. For a relayed response, it limits the time for each part.
	writeTimeout = 10 * time.Second
	// relaysMax limits the number of connections that are relayed to the books process, including streams. It is less than link.ConnsMax,
	// so this process can always send its own requests.
	relaysMax = 96
	// workMax limits the number of requests in progress that take time, such as accounting, verify, reload and forget.
	workMax = 16
	// waitersMax limits the number of requests that wait for metrics or checks.
	waitersMax = 16
	// metricsBytesMax limits the total size of the metrics that are being sent. A single text may exceed it.
	metricsBytesMax = 4 << 20
	// wrongTokenDelay is the delay before the response to a wrong token.
	wrongTokenDelay = 500 * time.Millisecond
)

// limits are the limits of one listener.
type limits struct {
	name           string
	probes         bool
	connsMax       int // lower if the process may have only a few descriptors
	perAddress     int
	headerBytesMax int
	bodyBytesMax   int
	idleTimeout    time.Duration
	bufferBytes    int // kernel send buffer; with a smaller buffer, transfers with large packets, such as those on loopback, stall
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

// connsMin is the lowest possible limit of connections, however few descriptors the process may have.
const connsMin = 16

func (l *limits) connections(log *slog.Logger) connlimit.Options {
	total := connlimit.Share(connsMin, l.connsMax)
	return connlimit.Options{
		Name: l.name, Total: total, PerAddress: max(min(l.perAddress, total/2), 1), BufferBytes: l.bufferBytes, Unread: writeTimeout, Logger: log,
	}
}
