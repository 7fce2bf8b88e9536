package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Fault is a way of breaking wayside.
type Fault struct {
	Name  string
	About string
	Goal  int // number of cycles in a complete proof
	Short int // number of cycles in the short form; 0 if the fault is not part of it
	Usual int // default number of cycles in a piece
	run   func(context.Context, *Lab, *Piece) error
}

// All returns the faults in the order of the table.
func All() []Fault {
	return []Fault{
		{"kill", "kill -9 of either process at random under full traffic", 1000, 4, 100, runKill},
		{"kill-http2", "kill -9 of either process at random under full traffic over HTTP/2, to servers that speak HTTP/1.1 and HTTP/2", 200, 2, 100, runKillHTTP2},
		{"term-kill", "SIGKILL within 300 ms of SIGTERM", 50, 1, 20, runTermKill},
		{"crash", "the process dies when it reaches a named crash point for the k-th time; all crash points", crashGoal(), 0, crashGoal(), runCrash},
		{"power-create", "power cut while a data directory and its files are being created", 40, 0, 10, powerFault("create")},
		{"power-append", "power cut under traffic, spool.sync: request", 40, 1, 10, powerFault("append")},
		{"power-interval", "power cut under traffic, spool.sync: interval (the default); only events committed before it must survive", 40, 0, 10, runPowerInterval},
		{"power-drain", "power cut while a backlog is being drained", 40, 0, 10, powerFault("drain")},
		{"power-archive", "power cut during archiving", 40, 0, 10, powerFault("archive")},
		{"power-delete", "power cut while retention deletes events", 40, 0, 10, powerFault("delete")},
		{"disk", "the disk becomes full under traffic, and later has space again", 50, 0, 10, runDisk},
		{"several", "kills, stops, a full disk and damaged files: six faults in a row, chosen at random", 200, 0, 50, runSeveral},
		{"fsize", "RLIMIT_FSIZE set on both processes, and lifted again", 20, 0, 5, runFileSize},
		{"clock", "clock jumps of an hour, a day, a year, back and forth, and daylight saving changes", 20, 1, 5, runClock},
		{"stop", "the books process is stopped (SIGSTOP) under traffic", 20, 0, 5, runStop},
		{"full", "the books process is stopped under traffic until the queue is full (1 to 1.5 MiB)", 50, 0, 10, runFull},
		{"stop-minutes", "the books process is stopped (SIGSTOP) for two to three minutes under traffic", 4, 0, 2, runStopMinutes},
		{"age", "the books process is stopped for longer than spool.age_max; in every other cycle, both processes are killed during this time", 10, 0, 4, runAge},
		{"sync", "an fsync of the queue fails, spool.sync: request", 50, 5, 10, runSync},
		{"memory", "the books process runs out of memory: cgroup, RLIMIT_AS", 20, 2, 6, runMemory},
		{"oom-group", "both processes run out of memory at once: cgroup v2 with memory.oom.group", 20, 1, 6, runOOMGroup},
		{"steady", "full speed, with the books process killed every 5 s (120 cycles take 10 minutes)", 120, 0, 120, runSteady},
		{"two", "a second run on the same data directory", 20, 1, 5, runTwo},
		{"flip-rest", "a bit is flipped in every kind of file while nothing is running", 100 * len(fileKinds), 0, 2 * len(fileKinds), damageFault(true, false)},
		{"flip-use", "a bit is flipped in every kind of file under traffic", 100 * len(fileKinds), 0, 2 * len(fileKinds), damageFault(true, true)},
		{"cut-rest", "every kind of file is truncated while nothing is running", 100 * len(fileKinds), 0, 2 * len(fileKinds), damageFault(false, false)},
		{"cut-use", "every kind of file is truncated under traffic", 100 * len(fileKinds), 0, 2 * len(fileKinds), damageFault(false, true)},
		{"refill", "the store is damaged in a random way under traffic, set aside, and refilled from the archive", 100, 2, 25, runRefill},
	}
}

// Piece is a run of cycles of one fault, with their result. First is the number of the first cycle: a resumed proof
// continues where the last piece ended.
type Piece struct {
	Fault  string
	Seed   uint64
	First  int
	Cycles int // number of cycles requested

	Done    int // number of cycles that were run, including failed ones
	Sum     Outcome
	Took    time.Duration
	Remark  string // additional information for the evidence
	Problem error  // the first problem, or why the fault was skipped
}

// Run runs cycles until all are done, too many have failed, or ctx ends. If ctx is done, the cycles that have been completed count.
func (f Fault) Run(ctx context.Context, l *Lab, seed uint64, first, cycles int) *Piece {
	p := &Piece{Fault: f.Name, Seed: seed, First: first, Cycles: cycles}
	began := time.Now()
	p.Problem = f.run(ctx, l, p)
	p.Took = time.Since(began)
	return p
}

// each runs one trial per cycle.
func (p *Piece) each(ctx context.Context, l *Lab, cycle func(random *rand.Rand, n int) (Outcome, error)) error {
	return p.groups(ctx, l, 1, func(random *rand.Rand, first, _ int) (Outcome, error) { return cycle(random, first) })
}

// trials runs one trial per cycle, in a new folder with this environment.
func (p *Piece) trials(ctx context.Context, l *Lab, env []string, cycle func(t *trial, random *rand.Rand, n int) (Outcome, error)) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		t, err := l.newTrial(env...)
		if err != nil {
			return Outcome{}, err
		}
		o, err := cycle(t, random, n)
		t.end(err != nil)
		return o, err
	})
}

// groups runs trials of up to size cycles each, as many at the same time as the lab has jobs. The trials start in the order of their
// cycles. Done is the number of cycles before the first gap.
func (p *Piece) groups(ctx context.Context, l *Lab, size int, group func(random *rand.Rand, first, n int) (Outcome, error)) error {
	g := &groupRun{made: map[int]int{}}
	var jobs sync.WaitGroup
	for range max(1, l.Jobs) {
		jobs.Go(func() {
			for ctx.Err() == nil {
				first, n := g.take(p, size)
				if n == 0 {
					return
				}
				began := time.Now()
				o, err := group(newRand(p.Seed, first), first, n)
				if ctx.Err() != nil && err != nil {
					return // the trial was interrupted and has no result
				}
				if err != nil && !errors.Is(err, ErrSkipped) {
					err = fmt.Errorf("cycle %d of seed %d: %w", first, p.Seed, err)
				}
				if g.put(p, first, n, o, err, l.Failures) {
					l.progress("%s %d-%d: %d requests, %d lost, %d doubled, %d failed, %d dropped, %d quarantined, recovery %v, %v %s", p.Fault, first, first+n-1,
						o.Requests, o.Lost, o.Doubled, o.Failed, o.Dropped, o.Quarantined, o.Recovery.Round(time.Millisecond),
						time.Since(began).Round(10*time.Millisecond), o.Note)
				}
				if err != nil {
					l.progress("%v", err)
				}
			}
		})
	}
	jobs.Wait()
	for n := g.made[p.First+p.Done]; n > 0; n = g.made[p.First+p.Done] {
		p.Done += n
	}
	return g.result(p)
}

// groupRun is shared by the jobs of one piece.
type groupRun struct {
	mu    sync.Mutex
	taken int         // number of cycles that the jobs have taken
	made  map[int]int // first cycle of each completed trial → its number of cycles
	errs  []error
	ended bool // whether no further trial may begin
}

// take returns the next trial. n is 0 if there is none.
func (g *groupRun) take(p *Piece, size int) (first, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return 0, 0
	}
	first, n = p.First+g.taken, min(size, p.Cycles-g.taken)
	g.taken += n
	return first, n
}

// put stores the result of a trial, and reports whether the trial counts.
func (g *groupRun) put(p *Piece, first, n int, o Outcome, err error, failures int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	skipped := errors.Is(err, ErrSkipped)
	if err != nil && !(skipped && g.ended) { // reporting one skip is enough
		g.errs = append(g.errs, err)
		g.ended = skipped || len(g.errs) >= max(1, failures)
	}
	if skipped {
		return false
	}
	g.made[first] = n
	p.Sum.add(o)
	return true
}

func (g *groupRun) result(p *Piece) error {
	if len(g.errs) < 2 || errors.Is(g.errs[0], ErrSkipped) {
		return errors.Join(g.errs...)
	}
	return fmt.Errorf("%d failed trials in %d cycles: %w", len(g.errs), p.Done, errors.Join(g.errs...))
}

func (o *Outcome) add(other Outcome) {
	o.Requests += other.Requests
	o.Received += other.Received
	o.Lost += other.Lost
	o.Doubled += other.Doubled
	o.Failed += other.Failed
	o.Dropped += other.Dropped
	o.Quarantined += other.Quarantined
	o.Recovery = max(o.Recovery, other.Recovery)
}

// Record returns the piece as a row of the evidence table.
func (p *Piece) Record(code string) Record {
	return Record{
		Fault: p.Fault, Cycles: p.Done, Requests: p.Sum.Requests, Lost: p.Sum.Lost, Doubled: p.Sum.Doubled, Failed: p.Sum.Failed,
		Dropped: p.Sum.Dropped, Quarantined: p.Sum.Quarantined, Recovery: p.Sum.Recovery, First: p.First, Code: code, Result: p.Result(),
	}
}
