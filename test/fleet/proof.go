package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/fleet"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
)

// proof compares the engines with the instances.
type proof struct {
	dir       string
	server    *s3test.Server
	target    uploader.Target
	instances []*instance

	responses, dropped uint64
	status             map[string]uint64            // service, path and status → responses, from the instances' own figures
	perInstance        map[string]uint64            // service and instance → responses
	drops              map[string]uint64            // service, instance and reason → responses
	latencies          map[string][]uint64          // service and path → latencies of all events, ascending
	objects            map[string][]uploader.Object // by epoch, ascending
}

// expect adds up the instances' own figures, and reads the latencies of all events from the bucket without using SQL.
func (p *proof) expect(ctx context.Context) error {
	p.status, p.perInstance, p.drops = map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	p.latencies, p.objects = map[string][]uint64{}, map[string][]uploader.Object{}
	for _, in := range p.instances {
		sum := uint64(0)
		for name, f := range in.paths {
			sum += f.count
			for code, n := range f.status {
				p.status[fmt.Sprint(in.service, " ", name.host, " ", name.method, " ", name.path, " ", code)] += n
			}
		}
		if a := in.accounting; sum != a.Applied {
			return fmt.Errorf("instance %s: its paths add up to %d, it applied %d", in.name, sum, a.Applied)
		}
		p.responses += sum
		p.perInstance[in.service+" "+in.name] += sum
		for reason, n := range in.accounting.Dropped {
			if n > 0 {
				p.drops[in.service+" "+in.name+" "+reason] += n
				p.dropped += n
			}
		}
	}
	return p.readBucket(ctx)
}

func (p *proof) readBucket(ctx context.Context) error {
	err := p.target.List(ctx, uploader.EventsPrefix, func(info uploader.ObjectInfo) error {
		o, err := uploader.ParseKey(info.Key)
		if err != nil {
			return err
		}
		p.objects[o.Epoch.String()] = append(p.objects[o.Epoch.String()], o)
		_, err = uploader.ScanEvents(ctx, p.target, info.Key, func(_ []byte, l *uploader.Line) error {
			if !l.IsDrop() {
				e, name := l.Event(), l.Row()
				key := fmt.Sprint(l.Service, " ", name.Host, " ", name.Method, " ", name.Label)
				p.latencies[key] = append(p.latencies[key], e.LatencyMicros())
			}
			return nil
		})
		return err
	})
	for _, all := range p.latencies {
		slices.Sort(all)
	}
	for _, objects := range p.objects {
		slices.SortFunc(objects, func(a, b uploader.Object) int { return int(int64(a.First) - int64(b.First)) })
	}
	return err
}

// gap is a part of an epoch that is missing after objects have been moved away.
type gap struct {
	epoch, instance string
	numbers         uint64
	text            string // first and last missing number
}

// takeAway moves objects out of the bucket, but never the last object of an epoch, and returns the resulting gaps.
func (p *proof) takeAway() (gaps []gap, putBack func() error, err error) {
	var moved [][2]string
	for _, epoch := range slices.Sorted(maps.Keys(p.objects)) {
		objects := p.objects[epoch]
		if len(objects) < 3 || len(gaps) == 7 {
			continue
		}
		o := objects[len(gaps)%(len(objects)-1)] // the first, then the second, …
		for _, key := range []string{o.Key, uploader.StatsKey(o.Key)} {
			file := p.server.ObjectPath("books/" + key)
			aside := filepath.Join(p.dir, "aside", key)
			if err := os.MkdirAll(filepath.Dir(aside), 0o755); err != nil {
				return nil, nil, err
			}
			if err := os.Rename(file, aside); err != nil {
				return nil, nil, err
			}
			moved = append(moved, [2]string{aside, file})
		}
		gaps = append(gaps, gap{epoch, o.Instance, o.Last - o.First + 1, fmt.Sprintf("%d-%d", o.First, o.Last)})
	}
	if len(gaps) == 0 {
		return nil, nil, errors.New("no epoch has three objects: use more instances")
	}
	return gaps, func() error {
		for _, m := range moved {
			if err := os.Rename(m[0], m[1]); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// run moves objects out of the bucket, ingests, checks that the gaps are found, puts the objects back, ingests again in every way, and
// compares.
func (p *proof) run() (string, error) {
	gaps, putBack, err := p.takeAway()
	if err != nil {
		return "", err
	}
	click, err := newClickHouse(p)
	if err != nil {
		return "", err
	}
	defer click.close()
	duck, err := p.startDuckDB()
	if err != nil {
		return "", err
	}
	defer duck.stop()
	began := time.Now()
	if err := click.ingest(); err != nil {
		return "", err
	}
	whole := time.Since(began)
	for _, e := range []*engine{duck, click.engine} {
		if err := p.compareGaps(e, gaps); err != nil {
			return "", err
		}
	}
	if err := putBack(); err != nil {
		return "", err
	}
	worst := 0.0
	ways, err := click.ingestEveryWay(p, whole, &worst)
	if err != nil {
		return "", err
	}
	for _, e := range []*engine{duck, click.engine} {
		if err := p.compareAll(e, &worst); err != nil {
			return "", err
		}
	}
	if err := errors.Join(p.grafanaPanels(click.engine), click.roles(p), click.cluster(p, &worst), athenaGrammar()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; counts by service, path and status, by instance, drops by reason and every query equal the instances' own "+
		"figures in DuckDB and ClickHouse %s; percentiles at most %.2f %% off; %d gaps made, exactly these found; ingested %s; roles, "+
		"distributed tables, Grafana panels, and the grammar of the statements for clusters and Athena checked",
		p.describe(), click.version, 100*worst, len(gaps), ways), nil
}

// startDuckDB starts DuckDB with views of the bucket's files, which is possible because the S3 server stores each object as a file.
func (p *proof) startDuckDB() (*engine, error) {
	setup, err := fleet.Setup(fleet.Options{Engine: fleet.DuckDB, Bucket: p.server.ObjectPath("books")})
	if err != nil {
		return nil, err
	}
	duck := &engine{name: fleet.DuckDB, script: "test/archive/duckdb/session.mjs"}
	if err := duck.start(); err != nil {
		return nil, err
	}
	if err := duck.run(setup); err != nil {
		duck.stop()
		return nil, err
	}
	return duck, nil
}

// describe describes the fleet.
func (p *proof) describe() string {
	counted := map[life]int{}
	for _, in := range p.instances {
		counted[in.life]++
	}
	var mix []string
	for l, n := range counted {
		mix = append(mix, fmt.Sprintf("%d %s", n, lifeNames[l]))
	}
	slices.Sort(mix)
	return fmt.Sprintf("%d instances (%s): %d responses and %d drops in %d epochs", len(p.instances), strings.Join(mix, ", "), p.responses,
		p.dropped, len(p.objects))
}
