package traffic

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/query"
)

// scrubWait bounds how long the spool's files may take to be drained and replaced.
const scrubWait = 20 * time.Second

// forget answers POST /-/forget: the books process forgets, then this process scrubs its spool.
func (t *traffic) forget(ctx context.Context, body []byte) (any, error) {
	var o admin.ForgetOrder
	if err := query.DecodeBody(body, &o); err != nil { // a misspelt dry_run must not delete
		return nil, &admin.BooksError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	said, err := t.admin.TellBooks(ctx, admin.PathForget, body)
	if err != nil {
		return nil, err
	}
	var answer admin.ForgetAnswer
	if err := json.Unmarshal(said, &answer); err != nil {
		return nil, err
	}
	if o.Count {
		return answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrubWait)
	defer cancel()
	if err := t.spool.Scrub(ctx); err != nil {
		t.log.Warn("the spool was not scrubbed after paths were forgotten", "error", err)
		answer.Left = append(answer.Left, "the files of the spool, until they are used again: call forget again in a moment ("+err.Error()+")")
	}
	if t.cfg.Log.Access {
		answer.Left = append(answer.Left, "the access log, which wayside writes and does not keep")
	}
	return answer, nil
}

// With paths.raw: off the spool is scrubbed every scrubInterval, for at most scrubTime, and at the end: it holds paths only
// until the books process has found their template.
const (
	scrubInterval = 10 * time.Minute
	scrubTime     = 3 * time.Second
)

// keepScrubbed scrubs the spool now and then until ctx is done.
func (t *traffic) keepScrubbed(ctx context.Context) error {
	tick := time.NewTicker(scrubInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.scrubPaths(ctx)
		}
	}
}

func (t *traffic) scrubPaths(ctx context.Context) {
	if t.now.Load().Paths.Raw != "off" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	if err := t.spool.Scrub(ctx); err != nil {
		t.log.Info("files of the spool keep paths that were taken from it for now", "error", err)
	}
}
