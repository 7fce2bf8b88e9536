package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/link"
)

// The test binary plays the child when it is started with this argument.
const childArg = "supervised-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// crash ends the process as Badger does on a full disk: with the stack of every goroutine, which is more than is kept.
func crash() {
	debug.SetTraceback("all")
	for range 600 {
		go func() { select {} }()
	}
	fmt.Fprintln(os.Stderr, "the last words")
	time.Sleep(50 * time.Millisecond) // let the goroutines start
	panic("on purpose")
}

// child serves its configuration over HTTP on the relay, and ends when its spool channel is closed.
func child() int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	config, err := io.ReadAll(os.NewFile(ConfigFD, "config"))
	if err != nil {
		return 10
	}
	if string(config) == "crash" {
		crash()
	}
	spool, err := link.Inherited(SpoolFD, "spool")
	if err != nil {
		return 11
	}
	relay, err := link.Inherited(RelayFD, "relay")
	if err != nil {
		return 12
	}
	listener, err := link.NewListener(relay)
	if err != nil {
		return 13
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(config)
		}))
	}()
	if string(config) == "deaf" {
		select {}
	}
	_, _ = io.Copy(io.Discard, spool)
	return 0
}

type started struct {
	pid    int
	dialer *link.Dialer
}

func start(t *testing.T, config string, stop time.Duration) (*Supervisor, <-chan started, <-chan error, func() error) {
	t.Helper()
	starts, exits := make(chan started, 16), make(chan error, 16)
	s := New(Options{
		Args: []string{childArg}, Config: []byte(config), StopTimeout: stop, RestartDelayMin: time.Millisecond,
		ServeSpool: func(ctx context.Context, conn net.Conn) error {
			_, err := io.Copy(io.Discard, conn)
			return err
		},
		OnStart: func(pid int, dialer *link.Dialer) { starts <- started{pid, dialer} },
		OnExit:  func(err error) { exits <- err },
		Logger:  slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(cancel)
	return s, starts, exits, func() error { cancel(); return <-done }
}

func ask(t *testing.T, dialer *link.Dialer) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	resp, err := client.Get("http://collect/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestChildGetsConfigAndChannels(t *testing.T) {
	config := fmt.Sprintf("%0200000d", 7) // larger than a pipe's buffer
	s, starts, exits, stop := start(t, config, 0)
	first := <-starts
	if got := ask(t, first.dialer); got != config {
		t.Errorf("the child read %d bytes of configuration, want %d", len(got), len(config))
	}
	if pid := s.Status().PID; pid != first.pid {
		t.Errorf("status says pid %d, started %d", pid, first.pid)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v", err)
	}
	if err := <-exits; err != nil {
		t.Errorf("the child ended with %v instead of 0", err)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	s, starts, exits, stop := start(t, "x", 0)
	for range 3 {
		one := <-starts
		if got := ask(t, one.dialer); got != "x" {
			t.Errorf("child %d answered %q", one.pid, got)
		}
		_ = syscall.Kill(one.pid, syscall.SIGTERM) // ignored, as terminal signals are
		_ = syscall.Kill(one.pid, syscall.SIGKILL)
		if err := <-exits; err == nil {
			t.Error("a killed child ended without an error")
		}
	}
	<-starts
	if n := s.Status().Restarts; n != 3 {
		t.Errorf("%d restarts, want 3", n)
	}
	_ = stop()
}

func TestDeafChildIsKilled(t *testing.T) {
	_, starts, exits, stop := start(t, "deaf", 50*time.Millisecond)
	one := <-starts
	ask(t, one.dialer)
	_ = stop()
	if err := <-exits; err == nil {
		t.Error("the child left by itself")
	}
	if err := syscall.Kill(one.pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", one.pid, err)
	}
}

// After ForceStop, nobody waits for a child, whether it is already being stopped or will be later.
func TestForceStop(t *testing.T) {
	for _, before := range []bool{true, false} {
		s, starts, exits, stop := start(t, "deaf", time.Hour)
		one := <-starts
		if before {
			s.ForceStop()
		}
		if got := ask(t, one.dialer); got != "deaf" { // it lives until it is stopped by force
			t.Errorf("the child answered %q", got)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		if !before {
			s.ForceStop()
		}
		s.ForceStop() // calling it again has no effect
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
		if err := <-exits; err == nil {
			t.Error("the child left by itself")
		}
	}
}

// TestCrashIsOneLine lets the child die of a panic with many goroutines. The log must get one line, and the trace must
// go to a file of bounded size.
func TestCrashIsOneLine(t *testing.T) {
	var log, stderr bytes.Buffer
	name := filepath.Join(t.TempDir(), "crash")
	victim := name + ".victim"
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Link(victim, name)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Options{
		Args: []string{childArg}, Config: []byte("crash"), Stderr: &stderr, CrashFile: name,
		ServeSpool: func(ctx context.Context, _ net.Conn) error { <-ctx.Done(); return nil },
		OnStart:    func(int, *link.Dialer) {}, OnExit: func(error) { cancel() },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := stderr.String(); got != "the last words\n" {
		t.Errorf("the log got %d bytes besides: %.500s", len(got), got)
	}
	crash := ""
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "crashed") {
			crash += line
		}
	}
	if strings.Count(crash, "\n") != 1 || !strings.Contains(crash, "panic: on purpose") || len(crash) > 1000 {
		t.Errorf("the log says %q", crash)
	}
	trace, err := os.ReadFile(name)
	if err != nil || !bytes.HasPrefix(trace, []byte("panic: on purpose")) || !bytes.Contains(trace, []byte("\ngoroutine ")) || len(trace) != traceBytesMax {
		t.Errorf("%d bytes of trace, %v", len(trace), err)
	}
	log.Reset()
	s.opt.CrashCause = func() string { return "the disk is full" }
	crashed := &output{trace: []byte("SIGBUS: bus error\n")}
	s.reportCrash(crashed)
	if said := log.String(); !strings.Contains(said, "books process ended: the disk is full") || strings.Contains(said, "crashed") || !strings.Contains(said, "SIGBUS") {
		t.Errorf("of a crash with a known cause the log says %q", said)
	}
	if text, err := os.ReadFile(victim); string(text) != "precious" {
		t.Errorf("another file of that name is %.20q, %v", text, err)
	}
}
