package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// startForTest starts the origin and contestants that need no build.
func startForTest(t *testing.T, only ...string) *setup {
	t.Helper()
	return startOptionsForTest(t, options{only: only, loads: []workload{{rate: 1000, connections: 4}}})
}

func startTLSForTest(t *testing.T, only ...string) *setup {
	t.Helper()
	return startOptionsForTest(t, options{only: only, tls: true, loads: []workload{{rate: 200, connections: 4, fresh: true}, {rate: 1000, connections: 4}}})
}

func startOptionsForTest(t *testing.T, o options) *setup {
	t.Helper()
	o.duration = 300 * time.Millisecond
	f := &setup{options: o, dir: t.TempDir()}
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := f.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// The reference and HAProxy handle a load at a constant rate, and keep their connections to the origin.
func TestPacedLoad(t *testing.T) {
	f := startForTest(t, "nginx", "haproxy")
	for _, c := range f.contestants {
		before := originConnections(t, f)
		s, err := f.measure(t.Context(), c, f.loads[0])
		if err != nil {
			t.Fatal(c.name, err)
		}
		if s.Errors > 0 || s.Requests == 0 || s.CPUMicros <= 0 || s.PSSBytes == 0 || !s.Settled || s.P99Micros < s.P50Micros || s.TrafficMicros > 0 {
			t.Errorf("%+v", s)
		}
		// These are the connections of the load and the checks of this test. nginx has separate connections for each
		// worker.
		if opened := originConnections(t, f) - before; opened > 16 {
			t.Errorf("%s opened %d connections to the origin for %d requests", c.name, opened, s.Requests)
		}
	}
}

// Over TLS, each request of the load RATE/new has its own connection, and those of the other loads do not.
func TestTLSLoads(t *testing.T) {
	f := startTLSForTest(t, "nginx", "haproxy")
	for _, c := range f.contestants {
		for _, w := range f.loads {
			s, err := f.measure(t.Context(), c, w)
			if err != nil {
				t.Fatal(c.name, w, err)
			}
			if s.Errors > 0 || s.Requests == 0 || s.CPUMicros <= 0 {
				t.Errorf("%s: %+v", w, s)
			}
		}
	}
}

// originConnections returns the number of connections that the origin has accepted.
func originConnections(t *testing.T, f *setup) uint64 {
	t.Helper()
	text, err := get(t.Context(), "http://"+f.originAddr+"/bench-status")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.Fields(strings.Split(string(text), "\n")[2])[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Connections stay open between requests, and a closed connection is noticed.
func TestConnections(t *testing.T) {
	f := startForTest(t, "nginx")
	conns, err := openConnections(t.Context(), f.contestants[0].address, 300)
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		defer conn.Close()
	}
	if err := askAll(t.Context(), conns); err != nil {
		t.Error(err)
	}
	_ = conns[150].Close()
	if askAll(t.Context(), conns) == nil {
		t.Error("a closed connection is not noticed")
	}
}

func TestMeasureRest(t *testing.T) {
	f := startForTest(t, "nginx")
	f.idle = 50 * time.Millisecond
	figures, err := f.measureRest(t.Context())
	if err != nil || len(figures) != 1 || figures[0].Contestant != "nginx" || figures[0].CPUPercent < 0 || figures[0].CPUPercent > 200 {
		t.Errorf("%+v, %v", figures, err)
	}
	before, err := wakesOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		time.Sleep(time.Millisecond)
	}
	after, err := wakesOf(os.Getpid())
	if err != nil || after.root <= before.root || after.all-before.all < after.root-before.root {
		t.Errorf("before %+v, after 20 sleeps %+v, %v", before, after, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.measureRest(ctx); err == nil {
		t.Error("an interrupted measurement has a result")
	}
}
