package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// target describes to the attacking process what to attack.
type target struct {
	Traffic, Probes, Admin string // addresses
	Books                  int    // process ID
	Seconds                int
	Attacks                []string
}

// tally holds the figures that the attacking process reports every second.
type tally struct {
	Held    int64 // current number of connections
	Opened  int64
	Failed  int64 // failed attempts to open a connection
	Ended   int64 // connections that the other side closed
	Unended int64 // connections that wayside should have ended because of what they send, but did not end in time
}

// attacker runs one attack in the attacking process.
type attacker struct {
	target
	index int // index of the attack, which gives it its own addresses
	*shared
}

// shared is shared by the attacks of a process.
type shared struct {
	dials                                 <-chan time.Time // limits the rate of all attacks together, because they must not use up the CPU
	held, opened, failed, closed, unended atomic.Int64
}

const (
	dialsPerSecond = 1000
	reopenAfter    = 2 * time.Second // time until a connection that the other side closed is reopened
	checkEvery     = 2 * time.Second // time between two checks whether the other side has closed a connection
)

// runAttacker is the main function of the attacking process: it reads its target, and attacks until its standard input
// ends.
func runAttacker(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var t target
	if err := json.Unmarshal(line, &t); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	setNice(10)
	tick := time.NewTicker(time.Second / dialsPerSecond)
	defer tick.Stop()
	s := &shared{dials: tick.C}
	var group sync.WaitGroup
	for i, a := range attacks {
		for _, name := range t.Attacks {
			if a.name == name {
				group.Go(func() { a.run(ctx, &attacker{t, i, s}) })
			}
		}
	}
	report := time.NewTicker(time.Second)
	defer report.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-report.C:
		}
		_ = json.NewEncoder(os.Stdout).Encode(tally{s.held.Load(), s.opened.Load(), s.failed.Load(), s.closed.Load(), s.unended.Load()})
	}
	group.Wait()
	return nil
}

// setNice sets the niceness of all threads of this process. New threads inherit it.
func setNice(nice int) {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, nice)
		}
	}
}

// address returns the i-th of n source addresses of this attack.
func (a *attacker) address(i, n int) *net.TCPAddr {
	i %= n
	return &net.TCPAddr{IP: net.IPv4(127, byte(10+a.index), byte(i/250), byte(1+i%250))}
}

// dial waits until the rate limit allows it and then opens a connection. If small is set, the connection has a small receive buffer.
func (a *attacker) dial(ctx context.Context, addr string, from *net.TCPAddr, small bool) (*net.TCPConn, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-a.dials:
	}
	d := net.Dialer{LocalAddr: from, Timeout: 5 * time.Second, KeepAlive: -1}
	if small {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, unreadBytes) })
		}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		a.failed.Add(1)
		return nil, err
	}
	a.opened.Add(1)
	return conn.(*net.TCPConn), nil //nolint:forcetypeassert // the network is always tcp
}

// hold keeps connections open, sends the beginning of a request on each, and reopens a connection if the other side
// closes it.
type hold struct {
	addr        string
	conns, from int // number of connections, and of source addresses
	first       func(i int) []byte
	drip        []byte // sent repeatedly
	every       time.Duration
	read        bool // whether to read responses; otherwise, they stay in the buffers
}

func (a *attacker) hold(ctx context.Context, h hold) {
	if h.every == 0 {
		h.every = checkEvery
	}
	var group sync.WaitGroup
	for i := range h.conns {
		group.Go(func() {
			for ctx.Err() == nil {
				a.holdOne(ctx, h, i)
				sleep(ctx, reopenAfter)
			}
		})
	}
	group.Wait()
}

func (a *attacker) holdOne(ctx context.Context, h hold, i int) {
	conn, err := a.dial(ctx, h.addr, a.address(i, h.from), !h.read)
	if err != nil {
		return
	}
	a.held.Add(1)
	defer a.held.Add(-1)
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if h.first != nil {
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		// Data stays unsent if the other side does not accept it; that is part of the attack.
		if _, err := conn.Write(h.first(i)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			a.closed.Add(1)
			return
		}
	}
	buf := make([]byte, 512)
	for ctx.Err() == nil {
		if !h.wait(ctx, conn, buf) {
			if ctx.Err() == nil {
				a.closed.Add(1)
			}
			return
		}
		if len(h.drip) > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(h.every))
			_, _ = conn.Write(h.drip) // a failure is noticed by wait
		}
	}
}

// wait waits until the next drip and reports whether the connection is still open.
func (h hold) wait(ctx context.Context, conn *net.TCPConn, buf []byte) bool {
	if !h.read {
		sleep(ctx, h.every)
		return !hungUp(conn)
	}
	_ = conn.SetReadDeadline(time.Now().Add(h.every))
	for {
		if _, err := conn.Read(buf); err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded) && !hungUp(conn)
		}
	}
}

// hungUp reports whether the other side has closed the connection, without reading from it.
func hungUp(conn *net.TCPConn) (gone bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, _ = unix.Poll(fds, 0)
		gone = fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return gone || err != nil
}

// ask sends requests at a constant rate, each over its own connection. It disconnects after the response, or after the time stay.
type ask struct {
	addr  string
	rate  int // requests per second
	most  int // maximum number of connections at the same time; default 512
	from  int // number of source addresses
	stay  time.Duration
	texts []string // the requests, used in turn
}

func (a *attacker) ask(ctx context.Context, q ask) {
	if q.most == 0 {
		q.most = 512
	}
	repeat(ctx, q.rate, q.most, func(i int) { a.askOne(ctx, q, i) })
}

// repeat calls f at a constant rate, each time in a new goroutine. It skips a call if most of them are still running, and returns when
// ctx and the last call have ended.
func repeat(ctx context.Context, rate, most int, f func(i int)) {
	slots := make(chan struct{}, most)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	var group sync.WaitGroup
	defer group.Wait()
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case slots <- struct{}{}:
			n := i
			group.Go(func() { f(n); <-slots })
			i++
		default: // all connections are in use
		}
	}
}

func (a *attacker) askOne(ctx context.Context, q ask, i int) {
	conn, err := a.dial(ctx, q.addr, a.address(i, q.from), false)
	if err != nil {
		return
	}
	a.held.Add(1)
	defer a.held.Add(-1)
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_ = conn.SetDeadline(time.Now().Add(q.stay))
	if _, err := io.WriteString(conn, q.texts[i%len(q.texts)]); err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
	_ = conn.SetLinger(0) // disconnect with a reset, as some browsers do when a tab is closed
}

// names sends n requests at a constant interval and reads the responses.
func (a *attacker) names(ctx context.Context, n int, every time.Duration, text func(i int) string) {
	var conn *net.TCPConn
	var answers *bufio.Reader
	began := time.Now()
	for i := 0; i < n && ctx.Err() == nil; i++ {
		sleep(ctx, time.Until(began.Add(time.Duration(i)*every)))
		if conn == nil {
			var err error
			if conn, err = a.dial(ctx, a.Traffic, a.address(i, 16), false); err != nil {
				conn = nil
				continue
			}
			answers = bufio.NewReader(conn)
		}
		if err := exchange(conn, answers, text(i)); err != nil {
			_ = conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		_ = conn.Close()
	}
}

func exchange(conn net.Conn, answers *bufio.Reader, text string) error {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.Close {
		return fmt.Errorf("closed after %s", resp.Status)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
