package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/e2e"
	"github.com/wayside-proxy/wayside/test/loopback"
)

// life determines what happens to an instance while it is serving.
type life int

const (
	plain   life = iota
	restart      // stopped by SIGTERM and restarted
	killed       // kill -9 of the traffic process, after which the books process also ends
	noBooks      // kill -9 of the books process
	full         // runs without a books process until the spool is full, is then killed, and is restarted with a books process
	bursts       // three bursts, each archived before the next begins, which results in several objects
	lives        // the number of values
)

var lifeNames = [...]string{"plain", "restarted", "killed", "books killed", "spool full", "several objects"}

// instance is one wayside with its data directory.
type instance struct {
	number   int
	service  string
	name     string
	life     life
	requests int

	// The instance's own figures before it stops.
	accounting e2e.Accounting
	paths      map[pathName]*pathFigures
}

// smallSpool limits the spool to about a megabyte of events.
var smallSpool = []string{"WAYSIDE_SPOOL_BYTES_MAX=1MiB", "WAYSIDE_SPOOL_SEGMENT_BYTES=64KiB", "WAYSIDE_SPOOL_SEGMENTS=2"}

// pathName names a row of the statistics within a service.
type pathName struct{ host, method, path string }

type pathFigures struct {
	count  uint64
	errors uint64
	bytes  uint64
	status map[string]uint64
}

// application is the service behind all instances. The status and the duration of its responses depend on the path.
func application() (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if ms, err := strconv.Atoi(r.Header.Get("X-Delay-Ms")); err == nil {
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
		code, _ := strconv.Atoi(r.Header.Get("X-Status"))
		w.WriteHeader(max(code, 200))
		_, _ = w.Write(bytes.Repeat([]byte("x"), code%97))
	})}
	go func() { _ = server.Serve(l) }()
	return l.Addr().String(), func() { _ = server.Close() }, nil
}

// fleetRun holds everything that all instances share.
type fleetRun struct {
	dir, binary, upstream, archive string
	env                            []string
}

// serve runs an instance from its start to its end. Afterwards, all its events are in the bucket.
func (f *fleetRun) serve(ctx context.Context, in *instance) (err error) {
	listen, err := loopback.FreeAddress()
	if err != nil {
		return err
	}
	dir := filepath.Join(f.dir, "instances", in.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log := &bytes.Buffer{}
	w := &e2e.Wayside{
		Binary: f.binary, DataDir: dir, Listen: listen, Env: f.env, Log: log,
		Args: []string{"--upstream", "http://" + f.upstream, "--archive", f.archive, "--service", in.service, "--instance", in.name},
	}
	defer func() {
		if err != nil {
			text := log.String()
			err = fmt.Errorf("instance %s (%s): %w\n%s", in.name, lifeNames[in.life], err, text[max(0, len(text)-1500):])
		}
	}()
	if err := f.live(ctx, w, in); err != nil {
		return err
	}
	if in.accounting, err = w.AwaitSettled(ctx); err != nil {
		return err
	}
	if in.paths, err = ownPaths(ctx, w); err != nil {
		return err
	}
	return w.Stop(time.Minute)
}

// live sends the instance's requests, and causes the events of its life between them.
func (f *fleetRun) live(ctx context.Context, w *e2e.Wayside, in *instance) error {
	r := rand.New(rand.NewPCG(uint64(in.number), 7))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	half := in.requests / 2
	send := func(n int, long string) error { return in.send(ctx, client, w.Listen, r, n, long) }
	if in.life == full {
		args := w.Args
		w.Args = append(args[:len(args):len(args)], "--no-collector")
		w.Env = append(w.Env[:len(w.Env):len(w.Env)], smallSpool...)
		if err := w.Start(ctx); err != nil {
			return err
		}
		if err := send(900, "/"+strings.Repeat("long", 480)); err != nil { // about 2 MB of events
			return err
		}
		w.Kill()
		w.Args = args
		if err := w.Start(ctx); err != nil {
			return err
		}
		return send(in.requests, "")
	}
	if in.life == bursts {
		w.Env = append(w.Env[:len(w.Env):len(w.Env)], "WAYSIDE_ARCHIVE_AFTER=0s", "WAYSIDE_ARCHIVE_SCHEDULE=@every 1s")
	}
	if err := w.Start(ctx); err != nil {
		return err
	}
	if err := send(half, ""); err != nil {
		return err
	}
	var err error
	switch in.life {
	case restart:
		if err = w.Stop(time.Minute); err == nil {
			err = w.Start(ctx)
		}
	case killed:
		w.Kill()
		err = w.Start(ctx)
	case noBooks:
		w.KillBooks()
	case bursts:
		for range 2 {
			if err = f.archived(ctx, w); err == nil {
				err = send(half/2, "")
			}
		}
		if err == nil {
			err = f.archived(ctx, w)
		}
	}
	if err != nil {
		return err
	}
	return send(in.requests-half, "")
}

// archived waits until everything is in the bucket.
func (f *fleetRun) archived(ctx context.Context, w *e2e.Wayside) error {
	for {
		a, err := w.AwaitSettled(ctx)
		if err != nil || a.Archived == a.Applied {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// send sends n requests. A failed request is not an error here: it was cut off by a kill, and the comparison uses the instance's own
// figures.
func (in *instance) send(ctx context.Context, client *http.Client, address string, r *rand.Rand, n int, long string) error {
	for range n {
		method, path, status := "GET", fmt.Sprintf("/users/%d", r.IntN(100_000)), 200
		switch v := r.IntN(100); {
		case v < 20:
			method, path, status = "POST", "/orders", 201
		case v < 30:
			path, status = fmt.Sprintf("/users/%d/orders/%d", r.IntN(1000), r.IntN(1000)), 200
		case v < 36:
			path, status = "/missing", 404
		case v < 40:
			path, status = "/report", []int{500, 503}[r.IntN(2)]
		case v < 42:
			path, status = "/health", 204
		}
		if long != "" {
			path = long + "/" + strconv.Itoa(r.IntN(10))
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, nil)
		if err != nil {
			return err
		}
		req.Host = in.service + ".example"
		req.Header.Set("X-Status", strconv.Itoa(status))
		if r.IntN(20) == 0 {
			req.Header.Set("X-Delay-Ms", strconv.Itoa(1+r.IntN(12)))
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return nil
}

// ownPaths returns the figures that the instance itself reports for all paths.
func ownPaths(ctx context.Context, w *e2e.Wayside) (map[pathName]*pathFigures, error) {
	body, err := w.Ask(ctx, http.MethodGet, "/api/v1/paths?from=-48h&limit=1000")
	if err != nil {
		return nil, err
	}
	var reply struct {
		Paths []struct {
			Host, Method, Path string
			Count, Errors      uint64
			BytesOut           uint64            `json:"bytes_out"`
			Status             map[string]uint64 `json:"status"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, err
	}
	out := map[pathName]*pathFigures{}
	for _, p := range reply.Paths {
		out[pathName{p.Host, p.Method, p.Path}] = &pathFigures{p.Count, p.Errors, p.BytesOut, p.Status}
	}
	return out, nil
}
