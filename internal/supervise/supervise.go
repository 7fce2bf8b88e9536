// Package supervise keeps the books process running as a child of the traffic process.
//
// The child is the same binary, started from /proc/self/exe, so that the two can never be of different versions. It gets
// its channels (package link) as descriptors 3 and 4 and its configuration on descriptor 5. It ignores terminal signals
// and ends when told to or when its channels close, which the kernel does for us if the traffic process dies: the parent-
// death signal is not used, because it is tied to the thread that started the child and not to the process.
//
// A child that ends is started again, after a delay that grows while it keeps ending quickly. Nothing that happens to it
// reaches the traffic.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/internal/link"
)

// Descriptors that the child inherits.
const (
	SpoolFD  = 3
	RelayFD  = 4
	ConfigFD = 5
)

// Options configures a Supervisor.
type Options struct {
	// Args follow the program name, e.g. "collect", "--inherited".
	Args []string
	// Env is the child's environment; nil means that of this process.
	Env []string
	// Config is written to the child's ConfigFD at each start.
	Config []byte
	// ServeSpool answers the child on its spool channel until the connection or ctx ends.
	ServeSpool func(ctx context.Context, conn net.Conn) error
	// TimerSlack is how much later than asked for the kernel may end the child's waits for time. Waits that end at about the same time
	// then cost one wake-up together. What comes from other processes is not late. 0: the kernel's 50 µs.
	TimerSlack time.Duration
	// OnStart is called with the dialler for connections to a new child, OnExit when that child has gone.
	OnStart func(pid int, dialer *link.Dialer)
	OnExit  func(err error)
	// RestartDelayMin and RestartDelayMax bound the delay before a restart; 0 means 100 ms and 10 s.
	RestartDelayMin, RestartDelayMax time.Duration
	// StopTimeout is how long a child may take to end once its channels are closed; then it is killed, and at once after
	// [Supervisor.Hurry]. 0 means 5 s.
	StopTimeout time.Duration
	// Stderr receives the child's output up to the trace of a crash; nil means os.Stderr.
	Stderr io.Writer
	// CrashFile is where the trace of the last crash is kept, up to 64 KiB; empty means nowhere.
	CrashFile string
	// Meanwhile says for the log what becomes of events while no child runs; nil: nothing is said.
	Meanwhile func() string
	// Cause names what outside a child makes it crash, such as a full disk; "" or nil: nothing that is known.
	Cause  func() string
	Logger *slog.Logger
}

// Supervisor runs one child at a time.
type Supervisor struct {
	opt Options

	mu       sync.Mutex // guards what follows
	pid      int        // 0 while no child runs
	restarts uint64
	lastErr  error
	config   []byte // for the next child

	replace chan struct{} // holds one request to replace the child
	hurry   chan struct{} // closed by Hurry
	hurried sync.Once
}

// New returns a Supervisor; it starts nothing.
func New(o Options) *Supervisor {
	if o.RestartDelayMin <= 0 {
		o.RestartDelayMin = 100 * time.Millisecond
	}
	if o.RestartDelayMax <= 0 {
		o.RestartDelayMax = 10 * time.Second
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 5 * time.Second
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Supervisor{opt: o, config: o.Config, replace: make(chan struct{}, 1), hurry: make(chan struct{})}
}

// Replace gives the child a new configuration: the present one is told to leave, and the next one starts at once. Events
// wait in the spool meanwhile.
func (s *Supervisor) Replace(config []byte) {
	s.mu.Lock()
	s.config = config
	s.mu.Unlock()
	select {
	case s.replace <- struct{}{}:
	default: // asked already; the child that starts then reads this configuration
	}
}

// Hurry means that no child is waited for from now on: one that is being stopped, and any that will be, is killed at once. What it had not
// applied stays in the spool.
func (s *Supervisor) Hurry() { s.hurried.Do(func() { close(s.hurry) }) }

// errReplaced ends a child for Replace.
var errReplaced = errors.New("replaced by one with the new configuration")

// Status is what is known about the child.
type Status struct {
	PID      int    // 0 while no child runs
	Restarts uint64 // starts after the first
	LastErr  error  // how the last child ended, nil for a clean exit
}

// Status returns the present state.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{PID: s.pid, Restarts: s.restarts, LastErr: s.lastErr}
}

// stableAfter is how long a child must have run for the restart delay to begin anew: long enough to have opened its store and
// drained for a while. One that is killed every few seconds then works nearly all the time, and keeps up with the traffic.
const stableAfter = 3 * time.Second

// Run starts the child and starts it again whenever it ends, until ctx is done; then it closes the channels, waits for
// the child, and returns ctx's error.
func (s *Supervisor) Run(ctx context.Context) error {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = s.opt.RestartDelayMin, s.opt.RestartDelayMax
	for {
		began := time.Now()
		err := s.runOnce(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errReplaced) {
			s.opt.Logger.Info("books process starts anew with the new configuration")
			continue
		}
		if time.Since(began) > stableAfter {
			delays.Reset()
		}
		delay := delays.NextBackOff()
		s.mu.Lock()
		s.restarts++
		s.lastErr = err
		s.mu.Unlock()
		args := []any{"reason", reason(err), "restart_in", delay.Round(time.Millisecond).String()}
		if s.opt.Meanwhile != nil {
			args = append(args, "meanwhile", s.opt.Meanwhile())
		}
		s.opt.Logger.Warn("books process ended; traffic goes on", args...)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

func reason(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// runOnce runs one child from start to end.
func (s *Supervisor) runOnce(ctx context.Context) error {
	s.mu.Lock()
	config := s.config
	s.mu.Unlock()
	ch, err := openChannels(config)
	if err != nil {
		return err
	}
	defer ch.close()
	cmd := exec.Command("/proc/self/exe", s.opt.Args...) //nolint:gosec // the running binary itself
	cmd.Args[0] = os.Args[0]                             // for whoever looks at the list of processes
	out := &output{to: s.opt.Stderr}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, s.opt.StopTimeout
	cmd.ExtraFiles, cmd.Env = ch.theirs, s.opt.Env
	if err := startLate(cmd, s.opt.TimerSlack); err != nil {
		return fmt.Errorf("start books process: %w", err)
	}
	ch.closeTheirs()
	s.setPID(cmd.Process.Pid)
	defer s.setPID(0)

	childCtx, cancel := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.opt.ServeSpool(childCtx, ch.spool); err != nil && childCtx.Err() == nil {
			s.opt.Logger.Debug("spool channel ended", "error", err)
		}
	})
	s.opt.OnStart(cmd.Process.Pid, ch.dialer)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err = <-exited:
	case <-ctx.Done():
		ch.close() // the child's signal to leave
		err = s.await(cmd, exited)
	case <-s.replace:
		ch.close()
		if err = s.await(cmd, exited); err == nil {
			err = errReplaced
		}
	}
	cancel()
	ch.close()
	served.Wait()
	s.reportCrash(out)
	s.opt.OnExit(err)
	return err
}

// await gives the child StopTimeout to end by itself.
func (s *Supervisor) await(cmd *exec.Cmd, exited <-chan error) error {
	select {
	case err := <-exited:
		return err
	case <-time.After(s.opt.StopTimeout):
	case <-s.hurry:
	}
	s.opt.Logger.Warn("books process did not end in time and is killed; what it had not applied stays in the spool",
		"pid", cmd.Process.Pid)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill books process: %w", err)
	}
	return <-exited
}

func (s *Supervisor) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// channels are the parent's ends and, until the child has started, the child's.
type channels struct {
	spool, relay net.Conn
	dialer       *link.Dialer
	theirs       []*os.File
}

func openChannels(config []byte) (*channels, error) {
	ch := &channels{}
	var err error
	var file *os.File
	if ch.spool, file, err = link.Pair("spool"); err != nil {
		return nil, err
	}
	ch.theirs = append(ch.theirs, file)
	if ch.relay, file, err = link.Pair("relay"); err != nil {
		ch.close()
		return nil, err
	}
	ch.theirs = append(ch.theirs, file)
	if ch.dialer, err = link.NewDialer(ch.relay); err != nil {
		ch.close()
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		ch.close()
		return nil, fmt.Errorf("make configuration pipe: %w", err)
	}
	ch.theirs = append(ch.theirs, read)
	go func() { // a configuration larger than the pipe's buffer waits for the child to read
		_, _ = write.Write(config)
		_ = write.Close()
	}()
	return ch, nil
}

func (c *channels) closeTheirs() {
	for _, file := range c.theirs {
		_ = file.Close()
	}
	c.theirs = nil
}

func (c *channels) close() {
	c.closeTheirs()
	if c.spool != nil {
		_ = c.spool.Close()
	}
	if c.relay != nil {
		_ = c.relay.Close()
	}
}
