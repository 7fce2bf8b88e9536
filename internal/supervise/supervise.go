// Package supervise keeps the books process running as a child of the traffic process.
//
// The child is the same binary, started from /proc/self/exe, so both processes always have the same version. It inherits its channels
// (package link) as descriptors 3 and 4 and its configuration as descriptor 5. It ignores the signals of a terminal. It ends when its
// channels are closed: the supervisor closes them to stop it, and the kernel closes them if the traffic process dies. The parent-death
// signal is not used, because it is sent when the thread that started the child ends, not when the process ends.
//
// A child that ends is started again. If children repeatedly end soon after they were started, the delay before the next start grows.
// Nothing that happens to a child affects the traffic.
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
	Args []string // after the program name, e.g. "collect", "--inherited"
	Env  []string // nil means the environment of this process
	// Config is written to the child's ConfigFD at each start.
	Config []byte
	// ServeSpool handles the child's requests on its spool channel until the connection is closed or ctx is done.
	ServeSpool func(ctx context.Context, conn net.Conn) error
	// TimerSlack is the maximum time by which the kernel may delay the end of a timed wait in the child. With a larger slack, waits that
	// end at about the same time share one wake-up, which saves CPU time. Data from other processes is not delayed. 0 means the kernel's
	// default, 50 µs.
	TimerSlack time.Duration
	// OnStart is called with the dialer for connections to a new child, and OnExit when that child has ended.
	OnStart func(pid int, dialer *link.Dialer)
	OnExit  func(err error)
	// RestartDelayMin and RestartDelayMax bound the delay before a restart; 0 means 100 ms and 10 s.
	RestartDelayMin, RestartDelayMax time.Duration
	// StopTimeout is the time that a child may take to end after its channels have been closed. After that, it is killed. 0 means 5 s.
	StopTimeout time.Duration
	// Stderr receives the child's output up to the trace of a crash; nil means os.Stderr.
	Stderr io.Writer
	// CrashFile receives the trace of the last crash, up to 64 KiB; empty means that no trace is kept.
	CrashFile string
	// Meanwhile returns a text for the log about what happens to events while no child is running. It may be nil.
	Meanwhile func() string
	// CrashCause returns a cause outside the child that makes the child crash, such as a full disk, or "" if there is none. It may be
	// nil.
	CrashCause func() string
	Logger     *slog.Logger
}

// Supervisor runs one child at a time.
type Supervisor struct {
	opt Options

	mu     sync.Mutex // guards the fields below, up to the blank line
	status Status
	config []byte // configuration for the next child

	replace   chan struct{} // capacity 1; a request to replace the child
	force     chan struct{} // closed by ForceStop
	forceOnce sync.Once
}

// New returns a Supervisor. It does not start anything.
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
	return &Supervisor{opt: o, config: o.Config, replace: make(chan struct{}, 1), force: make(chan struct{})}
}

// Replace stops the child and immediately starts the next one with a new configuration. In the meantime, events wait in
// the spool.
func (s *Supervisor) Replace(config []byte) {
	s.mu.Lock()
	s.config = config
	s.mu.Unlock()
	select {
	case s.replace <- struct{}{}:
	default: // a replacement has already been requested; the next child gets this configuration
	}
}

// ForceStop makes Run kill a child that is being stopped instead of waiting for it. Events that it has not applied stay in
// the spool.
func (s *Supervisor) ForceStop() { s.forceOnce.Do(func() { close(s.force) }) }

// errReplaced is the reason why a child ended after Replace.
var errReplaced = errors.New("replaced by one with the new configuration")

// Status describes the child.
type Status struct {
	PID      int    // 0 while no child is running
	Restarts uint64 // number of starts after the first
}

// Status returns the current status.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// stableAfter is the time that a child must have run before the restart delay is reset to its minimum. It is long enough to open the
// store and to drain for a while, so even a child that is killed every few seconds keeps up with the traffic.
const stableAfter = 3 * time.Second

// Run starts the child, and restarts it whenever it ends, until ctx is done. Then it closes the channels, waits for the
// child, and returns ctx's error.
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
			s.opt.Logger.Info("the books process is being restarted with the new configuration")
			continue
		}
		if time.Since(began) > stableAfter {
			delays.Reset()
		}
		delay := delays.NextBackOff()
		s.mu.Lock()
		s.status.Restarts++
		s.mu.Unlock()
		args := []any{"reason", reason(err), "restart_in", delay.Round(time.Millisecond).String()}
		if s.opt.Meanwhile != nil {
			args = append(args, "meanwhile", s.opt.Meanwhile())
		}
		s.opt.Logger.Warn("the books process ended; traffic continues", args...)
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
	cmd := exec.Command("/proc/self/exe", s.opt.Args...) // the running binary itself
	cmd.Args[0] = os.Args[0]                             // the name in a list of processes
	out := &output{to: s.opt.Stderr}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, s.opt.StopTimeout
	cmd.ExtraFiles, cmd.Env = ch.theirs, s.opt.Env
	if err := startWithSlack(cmd, s.opt.TimerSlack); err != nil {
		return fmt.Errorf("start books process: %w", err)
	}
	ch.closeTheirs()
	s.setPID(cmd.Process.Pid)
	defer s.setPID(0)

	childCtx, cancel := context.WithCancel(ctx)
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.opt.ServeSpool(childCtx, ch.spool); err != nil && childCtx.Err() == nil {
			s.opt.Logger.Debug("the connection of the books process to the spool has failed", "error", err)
		}
	})
	s.opt.OnStart(cmd.Process.Pid, ch.dialer)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err = <-exited:
	case <-ctx.Done():
		ch.close() // signals the child to end
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

// await waits for the child to end, and kills it after StopTimeout or ForceStop.
func (s *Supervisor) await(cmd *exec.Cmd, exited <-chan error) error {
	select {
	case err := <-exited:
		return err
	case <-time.After(s.opt.StopTimeout):
	case <-s.force:
	}
	s.opt.Logger.Warn("the books process did not end in time and is being killed; events that it has not applied stay in the spool",
		"pid", cmd.Process.Pid)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill books process: %w", err)
	}
	return <-exited
}

func (s *Supervisor) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.PID = pid
}

// channels are this process's ends of the channels and, until the child has started, also the child's.
type channels struct {
	spool, relay net.Conn
	dialer       *link.Dialer
	theirs       []*os.File
}

func openChannels(config []byte) (_ *channels, err error) {
	ch := &channels{theirs: make([]*os.File, 2)}
	defer func() {
		if err != nil {
			ch.close()
		}
	}()
	if ch.spool, ch.theirs[0], err = link.Pair("spool"); err != nil {
		return nil, err
	}
	if ch.relay, ch.theirs[1], err = link.Pair("relay"); err != nil {
		return nil, err
	}
	if ch.dialer, err = link.NewDialer(ch.relay); err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make configuration pipe: %w", err)
	}
	ch.theirs = append(ch.theirs, read)
	go func() { // if the configuration is larger than the pipe's buffer, the write waits until the child reads
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
