package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/process/books/logimport"
	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// proof is the import of one file.
type proof struct {
	binary, data, file string
	killed             int
}

func (p *proof) command(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, p.binary, "import", "--data", p.data, "--output", "json", p.file)
}

// importKilled imports the file: it kills imports at random times and then runs one to its end. After that, it imports the file once
// more; this import must add nothing. It returns the duration of the complete import.
func (p *proof) importKilled(ctx context.Context, kills int) (took time.Duration, err error) {
	for range kills {
		cmd := p.command(ctx)
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
			continue // the import had nothing left to do
		case <-time.After(time.Duration(rand.Int64N(int64(3 * time.Second)))):
			_ = cmd.Process.Kill()
			<-ended
			p.killed++
		}
	}
	began := time.Now()
	if _, err := p.importOnce(ctx); err != nil {
		return 0, err
	}
	took = time.Since(began)
	again, err := p.importOnce(ctx)
	if err == nil && (again.Responses != 0 || again.Known != again.Lines) {
		err = fmt.Errorf("the second import counted %d of %d lines", again.Responses, again.Lines)
	}
	return took, err
}

func (p *proof) importOnce(ctx context.Context) (*logimport.File, error) {
	cmd := p.command(ctx)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("wayside import: %w: %s", err, out)
	}
	var files []logimport.File
	if err := json.Unmarshal(out, &files); err != nil || len(files) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d results", len(files)))
	}
	return &files[0], nil
}

// compare gets the figures from wayside, compares them with those in want, and makes wayside verify its books.
func (p *proof) compare(ctx context.Context, want *counts, lines uint64) error {
	if out, err := exec.CommandContext(ctx, p.binary, "verify", "--data", p.data).CombinedOutput(); err != nil {
		return fmt.Errorf("wayside verify: %w\n%s", err, out)
	}
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	log, err := os.Create(p.data + ".txt")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	w := &e2e.Wayside{Binary: p.binary, DataDir: p.data, Listen: listen, Log: log, Args: []string{"--upstream", "http://127.0.0.1:1", "--archive", "file://" + filepath.Join(p.data, "archive")}}
	if err := w.Start(ctx); err != nil {
		return err
	}
	defer w.Kill()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := w.AwaitSettled(ctx)
	if err != nil {
		return err
	}
	if a.Imported != lines || a.Responses != 0 || a.Aggregated != 0 {
		return fmt.Errorf("the accounting says %+v, and %d lines were imported", a, lines)
	}
	got, err := figures(ctx, w)
	if err != nil {
		return err
	}
	return want.differ(got)
}

// figures requests all figures of the last two days.
func figures(ctx context.Context, w *e2e.Wayside) (*counts, error) {
	type row struct {
		Path     string
		Route    string
		Count    uint64
		BytesOut uint64 `json:"bytes_out"`
		Status   map[string]uint64
	}
	ask := func(from, to time.Time) (rows []row, err error) {
		q := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}, "limit": {"10000"}}
		body, err := w.Ask(ctx, http.MethodGet, "/api/v1/paths?"+q.Encode())
		if err != nil {
			return nil, err
		}
		var answer struct{ Paths []row }
		err = json.Unmarshal(body, &answer)
		return answer.Paths, err
	}
	got := &counts{status: map[string]uint64{}, hours: map[string]uint64{}, paths: map[string]uint64{}}
	last := time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
	for hour := last.Add(-24 * time.Hour); hour.Before(last); hour = hour.Add(time.Hour) {
		rows, err := ask(hour, hour.Add(time.Hour))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Route != stats.ImportedRoute {
				return nil, fmt.Errorf("a row of %s is not marked as imported", r.Path)
			}
			got.total += r.Count
			got.bytes += r.BytesOut
			path, err := url.PathUnescape(r.Path) // GoAccess shows paths in this form
			if err != nil {
				return nil, err
			}
			got.paths[path] += r.Count
			got.hours[strconv.Itoa(100 + hour.Hour())[1:]] += r.Count
			for code, n := range r.Status {
				got.status[code] += n
			}
		}
	}
	return got, nil
}

// differ returns an error that describes how two counts differ, or nil.
func (c *counts) differ(got *counts) error {
	var errs []error
	if c.total != got.total || c.bytes != got.bytes {
		errs = append(errs, fmt.Errorf("GoAccess counts %d requests and %d bytes, wayside %d and %d", c.total, c.bytes, got.total, got.bytes))
	}
	for _, m := range []struct {
		name      string
		want, got map[string]uint64
	}{{"statuses", c.status, got.status}, {"hours", c.hours, got.hours}, {"paths", c.paths, got.paths}} {
		maps.DeleteFunc(m.got, func(_ string, n uint64) bool { return n == 0 })
		if !maps.Equal(m.want, m.got) {
			errs = append(errs, fmt.Errorf("%s: GoAccess counts %v, wayside %v", m.name, m.want, m.got))
		}
	}
	return errors.Join(errs...)
}
