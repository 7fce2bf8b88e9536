package traffic

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/query"
	"github.com/wayside-proxy/wayside/spool"
)

// eraser removes paths from the files of this process.
type eraser struct {
	spool     *spool.Set
	admin     *admin.Server
	log       *slog.Logger
	current   func() *configs.Config
	accessLog bool // whether this process writes an access log
}

// scrubWait limits how long draining and replacing the spool's files may take.
const scrubWait = 20 * time.Second

// forget serves POST /-/forget: the books process forgets the paths, then this process scrubs its spool.
func (e *eraser) forget(ctx context.Context, body []byte) (any, error) {
	var order admin.ForgetOrder
	if err := query.DecodeBody(body, &order); err != nil { // strict, so that nothing is deleted after a misspelled dry_run
		return nil, &admin.BooksError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	reply, err := e.admin.PostBooks(ctx, admin.PathForget, body)
	if err != nil {
		return nil, err
	}
	var answer admin.ForgetAnswer
	if err := json.Unmarshal(reply, &answer); err != nil {
		return nil, err
	}
	if order.Count {
		return answer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, scrubWait)
	defer cancel()
	if err := e.spool.Scrub(ctx); err != nil {
		e.log.Warn("paths were forgotten, but spool files still contain them; new events, or another call of forget, will overwrite those files", "error", err)
		answer.Left = append(answer.Left, "the files of the spool, until they are reused: call forget again in a moment ("+err.Error()+")")
	}
	if e.accessLog {
		answer.Left = append(answer.Left, "the access log, which wayside writes but does not store")
	}
	return answer, nil
}

// With paths.raw: off, paths may remain in the spool only until the books process has found their templates. It is scrubbed
// every scrubInterval, for at most scrubTime, and once more at the end.
const (
	scrubInterval = 10 * time.Minute
	scrubTime     = 3 * time.Second
)

// run scrubs the spool at intervals until ctx is done.
func (e *eraser) run(ctx context.Context) {
	tick := time.NewTicker(scrubInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.scrub(ctx)
		}
	}
}

func (e *eraser) scrub(ctx context.Context) {
	if e.current().Paths.Raw != "off" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	if err := e.spool.Scrub(ctx); err != nil {
		e.log.Info("cannot scrub spool files that still contain paths; wayside will try again", "error", err)
	}
}
