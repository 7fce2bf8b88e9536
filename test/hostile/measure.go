package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/test/procfs"
)

const (
	keptRate, keptConns = 360, 8 // requests per second over connections that stay open
	newRate, newConns   = 40, 8  // requests per second, each on a new connection
	clientTimeout       = 10 * time.Second
	livezEvery          = 500 * time.Millisecond
	livezWithin         = time.Second
	readsEvery          = 2 * time.Second
	readsWithin         = 5 * time.Second
)

// client is the healthy client. It keeps a record of everything that it has sent and received in all phases.
type client struct {
	addr           string
	sent, received load.Bitmap
	next           uint64 // first nonce of the next phase
}

// phase holds the measurements of the client in one phase.
type phase struct {
	sent, failed uint64
	errors       []string
	latency      load.Histogram
}

// run sends requests for the time d. A connection that cannot be opened counts as a failure, and so does a request without the right
// response.
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

// verify records the responses that came from the origin. These must be in the books under their path.
func (c *client) verify(nonce uint64, r *load.Response) error {
	err := load.ExpectBody(http.StatusOK, []byte(originBody))(nonce, r)
	if err == nil {
		c.received.Set(nonce)
	} else if r.Status != http.StatusOK {
		err = fmt.Errorf("%w: %.80q", err, r.Body)
	}
	return err
}

// question is a request that is repeated, each time over a new connection.
type question struct {
	name, addr, path string
	from             net.IP
	every, within    time.Duration
}

var fromMonitor, fromScraper = net.IPv4(127, 0, 0, 3), net.IPv4(127, 0, 0, 4)

func livez(name, addr string) question {
	return question{name, addr, "/livez", fromMonitor, livezEvery, livezWithin}
}

// answers counts the responses to questions.
type answers struct {
	asked, late int // late includes requests without a response
	slowest     time.Duration
	errors      []string
}

// watch repeats the questions until stop is called.
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

// sizes holds the maximum of each figure over all samples.
type sizes struct {
	descriptors   [2]int   // descriptors of the traffic process and of the books process
	memory        [4]int64 // bytes: the same two processes, the group without its socket buffers, and these buffers
	unreclaimable int64    // bytes of the group that the kernel cannot reclaim, including socket buffers
}

// watchSizes samples the descriptors and memory of the processes of a rig.
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
			most.unreclaimable = max(most.unreclaimable, r.group.Unreclaimable())
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

// processorTime returns the CPU time of a process so far, or 0 if it has ended.
func processorTime(pid int) time.Duration {
	stat, _ := procfs.ReadStat(pid)
	return stat.CPU
}

// peakMemory returns the maximum resident size of a process so far in bytes, or 0 if it has ended.
func peakMemory(pid int) int64 {
	n, _ := procfs.Status(pid, "VmHWM:")
	return int64(n)
}
