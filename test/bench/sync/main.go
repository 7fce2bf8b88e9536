// Command sync compares spool.sync: request with spool.sync: interval in one run. It measures requests per second and latency through
// wayside. Both use the same disk and take turns, with several numbers of connections. The command appends the medians to
// docs/evidence/sync.md.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/bench/rig"
	"github.com/wayside-proxy/wayside/test/e2e"
)

const evidenceHead = `# Evidence: spool.sync

The cost of holding back each response until its event is on disk (` + "`go run ./test/bench/sync`" + `). The figures are medians of
several turns in one run; client, origin and wayside share one machine. A "+" after a commit means that the work tree
differed from it.

| when (UTC) | commit | connections | spool.sync | requests a second | p50 | p99 | 99.9 % |
|---|---|---|---|---|---|---|---|
`

var modes = []string{"interval", "request"}

func main() {
	var o rig.Options
	o.Flags(2*time.Second, ".", "docs/evidence/sync.md")
	rig.Main("sync", func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o rig.Options) (err error) {
	r, err := rig.New(ctx, o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	running := map[string]*e2e.Wayside{}
	for _, mode := range modes {
		if running[mode], err = r.Start(ctx, mode, []string{"WAYSIDE_SPOOL_SYNC=" + mode, "WAYSIDE_DATA_FREE_MIN=0"}); err != nil {
			return err
		}
	}
	for _, connections := range []int{1, 16, 64, 256} {
		turns := map[string][]*load.Report{}
		for range o.Rounds {
			for _, mode := range modes {
				report, err := rig.Load(ctx, load.Options{Address: running[mode].Listen, Connections: connections, Duration: o.Each})
				if err != nil {
					return err
				}
				turns[mode] = append(turns[mode], report)
			}
		}
		for _, mode := range modes {
			if err := r.Row(o.Evidence, evidenceHead, "%d | %s | %s", connections, mode, rig.LatencyCells(turns[mode])); err != nil {
				return err
			}
		}
	}
	return nil
}
