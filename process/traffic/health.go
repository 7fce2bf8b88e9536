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
)

// checks are the lines of /readyz?verbose.
func (t *traffic) checks() []admin.Check {
	return []admin.Check{
		{Name: "proxy", State: func() (bool, string) {
			m := t.proxy.Metrics()
			return true, terminal.Counted(m.InFlight, "request") + " in flight, " + terminal.Counted(m.UpstreamConns, "upstream connection")
		}},
		{Name: "upstream", State: func() (bool, string) {
			if reason, since := t.proxy.UpstreamFailure(); reason != "" {
				return false, reason + "; no success since " + since.UTC().Format(time.RFC3339)
			}
			return true, "no trouble"
		}},
		{Name: "spool", State: func() (bool, string) {
			s := t.spool.Status()
			if s.Degraded != "" {
				return false, s.Degraded + "; unrecorded responses are counted as dropped"
			}
			state := fmt.Sprintf("%s waiting, %d bytes of queue", terminal.Counted(s.PendingEvents, "event"), s.QueueBytes)
			if s.NewerEpochs > 0 {
				return false, state + "; " + terminal.Counted(s.NewerEpochs, "epoch") + " of a newer wayside: start that version again to have them in the books"
			}
			return true, state
		}},
		{Name: "books", State: func() (bool, string) {
			if t.peers.away() {
				return false, "the books process is away; " + t.meanwhile()
			}
			if since, silent := t.admin.BooksSilent(); silent {
				return false, "the books process is connected and has not answered since " + since.UTC().Format(time.RFC3339) +
					"; " + t.meanwhile()
			}
			return true, "connected"
		}},
		{Name: "archive", State: t.booksState(admin.PathArchive)},
		{Name: "refill", State: t.booksState(admin.PathRefill)},
		{Name: "files", State: t.filesState},
	}
}

// meanwhile says what becomes of responses that no books process takes.
func (t *traffic) meanwhile() string {
	if reason := t.spool.Status().Degraded; reason != "" {
		return "what cannot be recorded is counted as dropped (" + reason + ")" + after("; ", t.diskFull())
	}
	return "what is recorded waits in the spool" + after("; ", t.diskFull())
}

// diskFull says that the disk is too full for a books process, which then cannot open its store, or dies of it; "" if it is not.
func (t *traffic) diskFull() string {
	free, err := disk.Free(t.cfg.Data.Dir)
	if err != nil || free >= disk.StoreFreeMin {
		return ""
	}
	return fmt.Sprintf("the disk is full: %d bytes free in %s, and the books process needs at least %d: make room there", free, t.cfg.Data.Dir, disk.StoreFreeMin)
}

// after is text behind a separator, or nothing.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// booksState is a line of /readyz?verbose that the books process is asked for.
func (t *traffic) booksState(path string) func() (ok bool, detail string) {
	return func() (bool, string) {
		if _, silent := t.admin.BooksSilent(); silent {
			return false, "not known while the books process does not answer"
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		body, err := t.admin.AskBooks(ctx, http.MethodGet, path)
		if err != nil {
			return false, "not known while the books process is away"
		}
		var s admin.State
		if err := json.Unmarshal(body, &s); err != nil {
			return false, err.Error()
		}
		return s.OK, s.Detail
	}
}
