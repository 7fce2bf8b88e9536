package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/disk"
	"github.com/wayside-proxy/wayside/internal/terminal"
	"github.com/wayside-proxy/wayside/proxy"
	"github.com/wayside-proxy/wayside/spool"
)

// health describes the state of both processes, for readiness checks and the log.
type health struct {
	dataDir string
	spool   *spool.Set
	proxy   *proxy.Proxy
	admin   *admin.Server
	peers   *peers
	files   *fileWatch
}

// checks returns the lines of /readyz?verbose.
func (h *health) checks() []admin.Check {
	return []admin.Check{
		{Name: "proxy", State: func() (bool, string) {
			m := h.proxy.Metrics()
			return true, terminal.Counted(m.InFlight, "request") + " in flight, " + terminal.Counted(m.UpstreamConns, "upstream connection")
		}},
		{Name: "upstream", State: func() (bool, string) {
			if reason, since := h.proxy.UpstreamFailure(); reason != "" {
				return false, reason + "; no success since " + since.UTC().Format(time.RFC3339)
			}
			return true, "no trouble"
		}},
		{Name: "spool", State: h.spoolState},
		{Name: "books", State: func() (bool, string) {
			if h.peers.away() {
				return false, "the books process is unavailable; " + h.meanwhile()
			}
			if since, silent := h.admin.BooksSilent(); silent {
				return false, "the books process is connected and has not answered since " + since.UTC().Format(time.RFC3339) +
					"; " + h.meanwhile()
			}
			return true, "connected"
		}},
		{Name: "archive", State: h.booksState(admin.PathArchive)},
		{Name: "refill", State: h.booksState(admin.PathRefill)},
		{Name: "files", State: h.files.state},
	}
}

func (h *health) spoolState() (bool, string) {
	s := h.spool.Status()
	if s.Degraded != "" {
		return false, s.Degraded + "; unrecorded responses are counted as dropped"
	}
	state := fmt.Sprintf("%s waiting, %d bytes of queue", terminal.Counted(s.PendingEvents, "event"), s.QueueBytes)
	if s.NewerEpochs > 0 {
		return false, state + "; " + terminal.Counted(s.NewerEpochs, "epoch") + " of a newer wayside: start that version again to have them in the books"
	}
	return true, state
}

// meanwhile describes what happens to responses while no books process is receiving them.
func (h *health) meanwhile() string {
	text := "recorded responses wait in the spool"
	if reason := h.spool.Status().Degraded; reason != "" {
		text = "responses that cannot be recorded are counted as dropped (" + reason + ")"
	}
	if full := h.diskFull(); full != "" {
		text += "; " + full
	}
	return text
}

// diskFull returns a message if the disk is so full that a books process could fail or crash when it opens its store. Otherwise,
// it returns "".
func (h *health) diskFull() string {
	free, err := disk.Free(h.dataDir)
	if err != nil || free >= disk.StoreFreeMin {
		return ""
	}
	return fmt.Sprintf("the disk is full: %d bytes free in %s, and the books process needs at least %d: make room there", free, h.dataDir, disk.StoreFreeMin)
}

// booksState returns a check for a line of /readyz?verbose. The check requests its state from the books process.
func (h *health) booksState(path string) func() (ok bool, detail string) {
	return func() (bool, string) {
		if _, silent := h.admin.BooksSilent(); silent {
			return false, "unknown while the books process does not respond"
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		body, err := h.admin.AskBooks(ctx, http.MethodGet, path)
		if err != nil {
			return false, "unknown while the books process is not running"
		}
		var s admin.State
		if err := json.Unmarshal(body, &s); err != nil {
			return false, err.Error()
		}
		return s.OK, s.Detail
	}
}
