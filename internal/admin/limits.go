package admin

import (
	"log/slog"
	"time"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// Limits for the clients of both listeners. They use at most connections times buffers of memory, plus metricsBytesMax.
const (
	// readTimeout limits a request, from its first byte or the start of its connection to its end.
	readTimeout = 5 * time.Second
	// writeTimeout limits the time to send a response; for a relayed response, the time for each part of it.
	writeTimeout = 10 * time.Second
	// relaysMax limits the connections that are relayed to the books process, streams included. It is less than link.ConnsMax, so
	// that this process can always send its own requests.
	relaysMax = 96
	// workMax limits the requests for accounting, verify, reload and forget that run at the same time.
	workMax = 16
	// waitersMax limits the requests that wait for metrics or checks.
	waitersMax = 16
	// metricsBytesMax limits the bytes of metrics that are being sent. It can be exceeded by one text.
	metricsBytesMax = 4 << 20
	// wrongTokenDelay delays the response to a wrong token.
	wrongTokenDelay = 500 * time.Millisecond
)

// limits of one listener.
type limits struct {
	name           string
	probes         bool
	connsMax       int // less if the process may have few descriptors
	perAddress     int
	headerBytesMax int
	bodyBytesMax   int
	idleTimeout    time.Duration
	bufferBytes    int // kernel send buffer; smaller ones stall if packets are large, as on loopback
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

// connsMin is the least limit of connections, however few descriptors there are.
const connsMin = 16

func (l *limits) connections(log *slog.Logger) connlimit.Options {
	total := connlimit.Share(connsMin, l.connsMax)
	return connlimit.Options{
		Name: l.name, Total: total, PerAddress: max(min(l.perAddress, total/2), 1), BufferBytes: l.bufferBytes, Unread: writeTimeout, Logger: log,
	}
}
