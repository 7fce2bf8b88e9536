// Command year measures queries on a store that contains a year of hourly statistics for a thousand paths.
//
//	go run ./test/bench/year -dir /tmp/year        creates the store (minutes, 2 GB), or uses an existing one
//
// It exits with 1 if a median exceeds its budget: 20 ms for the table of a day and for 90 days of one path, 500 ms for a year.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/collector/api"
	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// now is the end of the year, in the middle of a day and of an hour.
var now = time.Date(2026, 11, 23, 15, 20, 0, 0, time.UTC)

func main() {
	dir := flag.String("dir", "", "directory of the store; created if it is missing")
	days := flag.Int("days", 365, "days")
	names := flag.Int("paths", 1000, "paths")
	runs := flag.Int("runs", 9, "runs per query")
	flag.Parse()
	if *dir == "" {
		fmt.Fprintln(os.Stderr, "year: -dir is required, for example: go run ./test/bench/year -dir /tmp/year")
		os.Exit(2)
	}
	if err := run(*dir, *days, *names, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "year:", err)
		os.Exit(1)
	}
}

func run(dir string, days, names, runs int) error {
	_, err := os.Stat(filepath.Join(dir, "store"))
	fresh := err != nil
	s, err := store.Open(store.Options{
		Dir: filepath.Join(dir, "store"), QuarantineDir: filepath.Join(dir, "quarantine"), ReserveBytes: -1,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	if fresh {
		if err := fill(ctx, s, days, names); err != nil {
			return err
		}
		if err := s.Flatten(); err != nil {
			return err
		}
		fmt.Printf("rows only: %d bytes on disk, %.1f per path and hour\n", size(dir), float64(size(dir))/float64(days*24*names))
	}
	started := time.Now()
	for more := true; more; {
		if more, err = s.Rollup(ctx, time.Minute); err != nil {
			return err
		}
	}
	if fresh {
		if err := s.Flatten(); err != nil {
			return err
		}
	}
	fmt.Printf("sums: %v; %d bytes on disk, %.1f per path and hour\n",
		time.Since(started).Round(time.Millisecond), size(dir), float64(size(dir))/float64(days*24*names))
	return measure(s, runs)
}

func measure(s *store.Store, runs int) error {
	h := api.NewHandler(api.Options{Rows: s, Now: func() time.Time { return now }})
	fmt.Println("| query | first | median | slowest |\n|---|---|---|---|")
	over := ""
	for _, q := range []struct {
		name, target string
		budget       time.Duration
	}{
		{"top 100 over 24 h", "/api/v1/paths?limit=100", 20 * time.Millisecond},
		{"top 100 over 7 d", "/api/v1/paths?limit=100&from=-7d", 500 * time.Millisecond},
		{"top 100 over a year", "/api/v1/paths?limit=100&from=-365d", 500 * time.Millisecond},
		{"top 100 over a year by p99, one method", "/api/v1/paths?limit=100&from=-365d&sort=p99&method=GET", 500 * time.Millisecond},
		{"a path's 90 days, hourly", "/api/v1/series?path=/api/v1/thing-500/%7Bid%7D&from=-90d", 20 * time.Millisecond},
		{"a path's 90 days, daily", "/api/v1/series?path=/api/v1/thing-500/%7Bid%7D&from=-90d&step=1d", 20 * time.Millisecond},
	} {
		var took []time.Duration
		for range runs {
			w := httptest.NewRecorder()
			started := time.Now()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, q.target, nil))
			took = append(took, time.Since(started))
			if w.Code != http.StatusOK {
				return fmt.Errorf("%s: %d %s", q.target, w.Code, w.Body)
			}
		}
		first := took[0]
		slices.Sort(took)
		fmt.Printf("| %s | %.1f ms | %.1f ms | %.1f ms |\n", q.name, ms(first), ms(took[len(took)/2]), ms(took[len(took)-1]))
		if median := took[len(took)/2]; median > q.budget {
			over += fmt.Sprintf("; %s takes %v, but its budget is %v", q.name, median, q.budget)
		}
	}
	if over != "" {
		return errors.New("FAILED" + over)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// fill imports rows for each hour. Each row has a few hundred responses, with log-normal latencies.
func fill(ctx context.Context, s *store.Store, days, names int) error {
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]*stats.Row, 4000)
	for i := range rows {
		rows[i] = new(stats.Row)
		median := 500 * math.Exp(r.NormFloat64()*1.5)
		for range 20 + r.IntN(400) {
			e := event.Event{Kind: event.KindRequest, Status: 200, ResponseBytes: 1000, DurationMicros: uint64(median * math.Exp(r.NormFloat64()*0.6))}
			if n := r.IntN(100); n < 3 {
				e.Status = []uint16{304, 404, 500}[n]
			}
			rows[i].Add(&e)
		}
	}
	keys, some := make([]stats.Key, names), make([]*stats.Row, names)
	last := now.Unix() / 3600
	for hour := last - int64(days)*24; hour <= last; hour++ {
		for i := range names {
			method := "GET"
			if i%5 == 4 {
				method = "POST"
			}
			keys[i] = stats.Key{Hour: hour, Host: "api.example.com", Method: method, Label: fmt.Sprintf("/api/v1/thing-%d/{id}", i)}
			some[i] = rows[r.IntN(len(rows))]
		}
		if err := s.ImportRows(ctx, keys, some); err != nil {
			return err
		}
	}
	return nil
}

// size returns the size of the tables in the directory.
func size(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(d.Name()) == ".sst" {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
