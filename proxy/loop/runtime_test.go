package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pingPong starts loops that echo bytes, and clients that each send a byte and then wait for pause. Between two bytes, the loops wait and keep
// their processors.
func pingPong(t *testing.T, loops int, pause time.Duration) (rounds *atomic.Int64) {
	t.Helper()
	rounds = new(atomic.Int64)
	for range loops {
		l := start(t)
		c, peer := pair(t, l)
		l.Post(func() { l.Go(func() { answerBytes(c) }) })
		go func() {
			b := make([]byte, 1)
			for {
				if _, err := peer.Write(b); err != nil {
					return
				}
				if _, err := peer.Read(b); err != nil {
					return
				}
				rounds.Add(1)
				time.Sleep(pause)
			}
		}()
	}
	return rounds
}

func answerBytes(c *Conn) {
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// moreProcs gives the runtime n processors in addition to its current ones, for loops to keep.
func moreProcs(t *testing.T, n int) {
	t.Helper()
	before := runtime.GOMAXPROCS(n)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func awaitRounds(rounds *atomic.Int64, n int64) {
	for at := rounds.Load(); rounds.Load() < at+n; {
		time.Sleep(time.Millisecond)
	}
}

// TestRuntime checks the facts about the Go runtime on which the package relies, see the package documentation. If a Go release changed them,
// garbage collections would not end, or only after the loops have been idle for busyFor.
func TestRuntime(t *testing.T) {
	moreProcs(t, 3)
	rounds := pingPong(t, 2, time.Millisecond) // shorter than busyFor, so that the loops never sleep
	awaitRounds(rounds, 10)
	before := pauses()
	for range 30 {
		runtime.GC()
	}
	awaitRounds(rounds, 10)
	t.Logf("pauses of 30 collections: %v", pausesSince(before))
}

// TestRuntimeIdle checks the same with loops that sleep.
func TestRuntimeIdle(t *testing.T) {
	moreProcs(t, 3)
	rounds := pingPong(t, 2, time.Hour)
	awaitRounds(rounds, 0)
	time.Sleep(2 * busyFor)
	for range 30 {
		runtime.GC()
	}
}

// pauses reads the histogram of stop-the-world pauses.
func pauses() *metrics.Float64Histogram {
	samples := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(samples)
	h := *samples[0].Value.Float64Histogram()
	h.Counts = append([]uint64(nil), h.Counts...)
	return &h
}

// pausesSince returns the median and the longest pause since before.
func pausesSince(before *metrics.Float64Histogram) (of [2]time.Duration) {
	now := pauses()
	total, seen := uint64(0), uint64(0)
	for i := range now.Counts {
		now.Counts[i] -= before.Counts[i]
		total += now.Counts[i]
	}
	for i, n := range now.Counts {
		bound := time.Duration(now.Buckets[i] * 1e9)
		if seen < (total+1)/2 && seen+n >= (total+1)/2 {
			of[0] = bound
		}
		if seen += n; n > 0 {
			of[1] = bound
		}
	}
	return of
}

// TestTraceback: a dump of all goroutines shows the code of a waiting task, and a CPU profile shows the code of a computing one.
func TestTraceback(t *testing.T) {
	moreProcs(t, 3)
	l := start(t)
	c, _ := pair(t, l)
	l.Post(func() { l.Go(func() { waitForByte(c) }) })
	for {
		dump := make([]byte, 1<<20)
		if dump = dump[:runtime.Stack(dump, true)]; strings.Contains(string(dump), "loop.waitForByte") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for deadline := time.Now().Add(20 * time.Second); ; { // on a busy machine, a short profile may have no sample of the task
		var profile bytes.Buffer
		if err := pprof.StartCPUProfile(&profile); err != nil {
			t.Skip("another profile is being taken: ", err)
		}
		for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
			task(l, compute)
		}
		pprof.StopCPUProfile()
		if bytes.Contains(unzip(t, profile.Bytes()), []byte("loop.compute")) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the profile does not have the code of the task")
		}
	}
}

//go:noinline
func waitForByte(c *Conn) { _, _ = c.Read(make([]byte, 1)) }

//go:noinline
func compute() {
	for range 10_000_000 {
		spin.Add(1)
	}
}

var spin atomic.Int64

func TestPanicEndsOneTask(t *testing.T) {
	l := start(t)
	l.Post(func() { l.Go(func() { panic("task") }) })
	l.Post(func() { panic("posted") })
	task(l, func() {
		defer func() {
			if r := recover(); r == nil {
				t.Error("a panic in Block was lost")
			}
		}()
		l.Block(func() { panic("blocked") })
	})
}

// TestFairness: a task whose socket is always ready must not prevent another task from getting its turn.
func TestFairness(t *testing.T) {
	l := start(t)
	busy, busyPeer := pair(t, l)
	go func() { _, _ = io.Copy(busyPeer, endless{}) }()
	l.Post(func() {
		l.Go(func() {
			for b := make([]byte, 10); ; {
				if _, err := busy.Read(b); err != nil {
					return
				}
			}
		})
	})
	c, peer := pair(t, l)
	l.Post(func() { l.Go(func() { answerBytes(c) }) })
	for range 100 {
		b := []byte{1}
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, b); err != nil {
			t.Fatal(err)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestBlockDoesNotHoldTheLoop: while one task is in Block, another one continues to work.
func TestBlockDoesNotHoldTheLoop(t *testing.T) {
	l := start(t)
	release, ended := make(chan struct{}), make(chan struct{})
	l.Post(func() {
		l.Go(func() {
			l.Block(func() { <-release })
			close(ended)
		})
	})
	task(l, func() {})
	close(release)
	<-ended
}

// TestOnReady: data, a deadline and a close each call the OnReady function of an idle connection that has no task.
func TestOnReady(t *testing.T) {
	l := start(t)
	for name, cause := range map[string]func(*Conn, net.Conn){
		"data":     func(_ *Conn, peer net.Conn) { _, _ = peer.Write([]byte{1}) },
		"end":      func(_ *Conn, peer net.Conn) { _ = peer.Close() },
		"deadline": func(c *Conn, _ net.Conn) { _ = c.SetReadDeadline(time.Unix(1, 0)) },
		"close":    func(c *Conn, _ net.Conn) { _ = c.Close() },
	} {
		for _, early := range []bool{false, true} { // whether it happens before OnReady is called
			c, peer := pair(t, l)
			if early {
				cause(c, peer)
			}
			ready := make(chan struct{})
			l.Post(func() { c.OnReady(func() { close(ready) }) })
			if !early {
				cause(c, peer)
			}
			select {
			case <-ready:
			case <-time.After(10 * time.Second):
				t.Errorf("%s, early %v: not called", name, early)
			}
		}
	}
}

func TestStop(t *testing.T) {
	l := start(t)
	c, peer := pair(t, l)
	failed := make(chan error, 1)
	l.Post(func() {
		l.Go(func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		})
	})
	task(l, func() {})
	l.Stop()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// TestAdopt moves a connection of package net to a loop.
func TestAdopt(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := start(t)
	task(l, func() {
		c, err := l.Adopt(conn)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := conn.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Error("the old connection is open:", err)
		}
		bufs := net.Buffers{[]byte("one "), []byte("two "), bytes.Repeat([]byte("many "), 1<<20)}
		want := bytes.Join(bufs, nil)
		l.Go(func() {
			if n, err := c.WriteBuffers(&bufs); n != int64(len(want)) || err != nil {
				t.Error(n, err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	})
}
