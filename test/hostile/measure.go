package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

const (
	keptRate, keptConns = 360, 8 // a second, over connections that stay open
	newRate, newConns   = 40, 8  // a second, each on a connection of its own
	clientTimeout       = 10 * time.Second
	livezEvery          = 500 * time.Millisecond
	livezWithin         = time.Second
	readsEvery          = 2 * time.Second
	readsWithin         = 5 * time.Second
)

// client is the healthy client. What it sent and received of all its phases is kept.
type client struct {
	addr           string
	sent, received load.Bitmap
	next           uint64 // first nonce of the next phase
}

// phase is what the client measured in one phase.
type phase struct {
	sent, failed uint64
	errors       []string
	latency      load.Histogram
}

// run sends requests for d. A connection that cannot be opened is a failure, like a request that is not answered as it should be.
func (c *client) run(ctx context.Context, d time.Duration) (*phase, error) {
	options := func(rate float64, conns int) load.Options {
		o := load.Options{
			Address: c.addr, Rate: rate, Connections: conns, FirstNonce: c.next, Requests: uint64(rate * d.Seconds()), Sent: &c.sent,
			Verify: c.verify, Timeout: clientTimeout, IdleTimeout: time.Minute,
			Dialer: net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: clientTimeout},
		}
		c.next += o.Requests
		return o
	}
	kept, fresh := options(keptRate, keptConns), options(newRate, newConns)
	fresh.Request = func(nonce uint64, r *load.Request) {
		r.Path, r.Header = load.Path(r.Path, nonce), append(r.Header, "Connection: close\r\n"...)
	}
	reports, errs := make([]*load.Report, 2), make([]error, 2)
	var group sync.WaitGroup
	for i, o := range []load.Options{kept, fresh} {
		group.Go(func() { reports[i], errs[i] = load.Run(ctx, o) })
	}
	group.Wait()
	p := &phase{}
	for _, r := range reports {
		if r == nil {
			continue
		}
		p.sent += r.Sent
		p.failed += r.FailedTotal() + r.DialErrors
		p.errors = append(p.errors, r.Errors...)
		if r.DialErrors > 0 {
			p.errors = append(p.errors, fmt.Sprintf("%d connections could not be opened", r.DialErrors))
		}
		p.latency.Merge(&r.Latency)
	}
	return p, errors.Join(errs...)
}

// verify takes note of what came from the origin: that must be in the books under its own path.
func (c *client) verify(nonce uint64, r *load.Response) error {
	err := load.ExpectBody(http.StatusOK, []byte(originBody))(nonce, r)
	if err == nil {
		c.received.Set(nonce)
	} else if r.Status != http.StatusOK {
		err = fmt.Errorf("%w: %.80q", err, r.Body)
	}
	return err
}

// question is asked again and again, each time on a new connection.
type question struct {
	name, addr, path string
	from             net.IP
	every, within    time.Duration
}

var fromMonitor, fromScraper = net.IPv4(127, 0, 0, 3), net.IPv4(127, 0, 0, 4)

func livez(name, addr string) question {
	return question{name, addr, "/livez", fromMonitor, livezEvery, livezWithin}
}

// answers says how a question was answered.
type answers struct {
	asked, late int // late: also those that came to nothing
	slowest     time.Duration
	errors      []string
}

// watch asks questions until it is stopped.
func watch(ctx context.Context, questions ...question) (stop func() answers) {
	var mu sync.Mutex
	var all answers
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	for _, q := range questions {
		group.Go(func() {
			tick := time.NewTicker(q.every)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				began := time.Now()
				err := q.ask()
				mu.Lock()
				all.add(q, time.Since(began), err)
				mu.Unlock()
			}
		})
	}
	return func() answers { cancel(); group.Wait(); return all }
}

func (a *answers) add(q question, took time.Duration, err error) {
	a.asked++
	a.slowest = max(a.slowest, took)
	if err == nil && took <= q.within {
		return
	}
	if a.late++; len(a.errors) < 3 {
		a.errors = append(a.errors, fmt.Sprintf("%s: %v after %v", q.name, err, took.Round(time.Millisecond)))
	}
}

func (q question) ask() error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: q.from}, Timeout: q.within}
	conn, err := d.Dial("tcp", q.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(q.within))
	if _, err := io.WriteString(conn, "GET "+q.path+" HTTP/1.1\r\nHost: "+q.addr+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		return fmt.Errorf("%.60q", answer)
	}
	return err
}

// sizes are the largest figures that were seen.
type sizes struct {
	descriptors [2]int   // of the traffic process and of the books process
	memory      [4]int64 // of the same two, of the group without the buffers of its sockets, and of those; in bytes
}

// watchSizes samples what a rig's processes take.
func watchSizes(r *rig) (stop func() sizes) {
	done, result := make(chan struct{}), make(chan sizes, 1)
	pids := [2]int{r.wayside.PID(), r.books}
	go func() {
		var most sizes
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			for i, pid := range pids {
				if dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid)); err == nil {
					names, _ := dir.Readdirnames(-1)
					_ = dir.Close()
					most.descriptors[i] = max(most.descriptors[i], len(names))
				}
				most.memory[i] = max(most.memory[i], peakMemory(pid))
			}
			most.memory[2], most.memory[3] = r.group.Peak(), max(most.memory[3], r.group.Sockets())
			select {
			case <-done:
				result <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() sizes { close(done); return <-result }
}

// processorTime is what a process has taken so far, to a hundredth of a second.
func processorTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime, stime
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// peakMemory is the most that a process had in RAM, in bytes (VmHWM).
func peakMemory(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
