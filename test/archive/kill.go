package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/uploader"
	"github.com/wayside-proxy/wayside/uploader/reader"
)

// killer kills a child at random moments, many times, with one data directory and one bucket.
type killer struct {
	dir    string
	seed   uint64
	server *s3test.Server
	target uploader.Target
	binary string
	random *rand.Rand
	tally  map[byte]int // number of kills by the phase of the child
}

// killState is stored in the directory, so an interrupted proof can be continued.
type killState struct {
	Kills int            `json:"kills"`
	Seed  uint64         `json:"seed"`
	Tally map[string]int `json:"tally"`
}

// proveKill kills the child many times, lets the last child finish, and then checks everything: the bucket has each applied event exactly
// once and nothing else, every object is in the catalogue, no event was deleted too early, and the statistics rebuilt from the bucket
// equal those of the store.
func proveKill(ctx context.Context, flags *flag.FlagSet, args []string) (string, error) {
	kills := flags.Int("kills", 1000, "how many times the child is killed")
	dir := flags.String("dir", "", "directory to continue in, which is kept (default: a temporary one)")
	seed := flags.Uint64("seed", 6, "decides the events and the times of the kills")
	_ = flags.Parse(args)
	k := &killer{dir: *dir, seed: *seed, tally: map[byte]int{}}
	if k.dir == "" {
		temp, err := os.MkdirTemp("", "wayside-kill-")
		if err != nil {
			return "", err
		}
		k.dir = temp
		defer func() { _ = os.RemoveAll(temp) }()
	}
	state, err := k.start(ctx)
	if err != nil {
		return "", err
	}
	defer k.server.Stop()
	for n := range *kills {
		if err := k.once(ctx); err != nil {
			return fmt.Sprintf("after %d kills", state.Kills+n), err
		}
		if n%25 == 24 {
			fmt.Fprintf(os.Stderr, "%d kills of %d\n", n+1, *kills)
		}
	}
	state.Kills += *kills
	for phase, n := range k.tally {
		state.Tally[phaseName[phase]] += n
	}
	if err := k.run(ctx, "-finish"); err != nil {
		return "", fmt.Errorf("the last child: %w", err)
	}
	found, err := k.check(ctx)
	if err != nil {
		return found, err
	}
	return fmt.Sprintf("seed %d, %d kills on this directory (%s), %s", state.Seed, state.Kills, tallyText(state.Tally), found), k.save(state)
}

func (k *killer) statePath() string { return filepath.Join(k.dir, "state.json") }

func (k *killer) start(ctx context.Context) (killState, error) {
	state := killState{Seed: k.seed, Tally: map[string]int{}}
	if text, err := os.ReadFile(k.statePath()); err == nil {
		if err := json.Unmarshal(text, &state); err != nil {
			return state, err
		}
	}
	k.seed = state.Seed
	k.random = rand.New(rand.NewPCG(state.Seed, uint64(state.Kills)))
	err := os.MkdirAll(filepath.Join(k.dir, "s3"), 0o700)
	if err == nil {
		k.server, err = s3test.StartProcess(filepath.Join(k.dir, "s3"))
	}
	if err != nil {
		return state, err
	}
	k.target, err = uploader.OpenTarget(ctx, k.server.URL("books"), uploader.TargetOptions{AccessKey: k.server.AccessKey, SecretKey: k.server.SecretKey})
	if err != nil {
		return state, err
	}
	k.binary = filepath.Join(k.dir, "child")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", k.binary, "./test/archive").CombinedOutput(); err != nil {
		return state, fmt.Errorf("build the child: %w\n%s", err, out)
	}
	return state, nil
}

func (k *killer) save(state killState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return os.WriteFile(k.statePath(), text, 0o600)
}

func (k *killer) command(extra ...string) *exec.Cmd {
	args := append([]string{childCommand, "-dir", k.dir, "-archive", k.server.URL("books"), "-seed", fmt.Sprint(k.seed)}, extra...)
	cmd := exec.Command(k.binary, args...)
	cmd.Env = append(append(os.Environ(), k.server.Env()...), auditEnv+"="+k.dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func (k *killer) run(_ context.Context, extra ...string) error { return k.command(extra...).Run() }

// once starts a child, waits for its first report, and kills it up to 150 ms later.
func (k *killer) once(ctx context.Context) error {
	cmd := k.command()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(out, first); err != nil {
		_ = cmd.Wait()
		return fmt.Errorf("the child ended by itself: %w", err)
	}
	wait := time.Duration(k.random.Int64N(int64(150 * time.Millisecond)))
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
	_ = cmd.Process.Kill()
	reports, _ := io.ReadAll(out)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return fmt.Errorf("the child ended by itself: %w", err)
	}
	last := byte(phaseOther)
	if len(reports) > 0 {
		last = reports[len(reports)-1]
	}
	k.tally[last]++
	return ctx.Err()
}

var phaseName = map[byte]string{
	phaseApply: "apply", phasePlan: "plan", phasePut: "put", phaseGet: "read back", phaseMark: "mark", phaseDelete: "delete", phaseOther: "between",
}

func tallyText(tally map[string]int) string {
	var parts []string
	for name, n := range tally {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// check examines the store and the bucket after the last child has finished.
func (k *killer) check(ctx context.Context) (string, error) {
	if text, err := os.ReadFile(filepath.Join(k.dir, unverifiedFile)); err == nil {
		return "", fmt.Errorf("events were deleted before they were in the bucket: %s", text)
	}
	s, err := openStore(k.dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	applied := s.Watermarks()[epoch]
	totals, aggregated, err := s.Account(ctx)
	if err != nil {
		return "", err
	}
	var plans []catalogue.Plan
	if err := s.Plans(ctx, func(p *catalogue.Plan) error { plans = append(plans, *p); return nil }); err != nil {
		return "", err
	}
	report, err := reader.Verify(ctx, k.target, reader.VerifyOptions{Plans: plans})
	if err != nil {
		return "", err
	}
	lost, doubled, foreign, err := k.lines(ctx, applied)
	if err != nil {
		return "", err
	}
	others, err := k.otherObjects(ctx, len(plans))
	if err != nil {
		return "", err
	}
	rows, differ, err := k.compareRows(ctx, s)
	if err != nil {
		return "", err
	}
	found := fmt.Sprintf("%d events applied, %d deleted locally, %d objects: %d lost, %d doubled, %d not applied, %d orphaned or partial objects, "+
		"0 deletions before verification; %d rows rebuilt from the bucket, %d differ from the store's",
		applied, totals.Deleted, report.Objects, lost, doubled, foreign, len(report.Problems)+others, rows, differ)
	want := store.Totals{Applied: applied, Archived: applied, Deleted: applied}
	if lost+doubled+foreign+len(report.Problems)+others+differ > 0 || totals != want || aggregated != applied || report.Known != len(plans) {
		return found, fmt.Errorf("not as it should be: totals %+v, %d in the rows, problems %v", totals, aggregated, report.Problems)
	}
	return found, nil
}

// lines reads all lines in the bucket. Each number from 1 to applied must occur exactly once.
func (k *killer) lines(ctx context.Context, applied uint64) (lost, doubled, foreign int, err error) {
	seen := make([]bool, applied+1)
	err = reader.List(ctx, k.target, reader.Range{}, func(o uploader.Object) error {
		_, err := uploader.ScanEvents(ctx, k.target, o.Key, func(text []byte, _ *uploader.Line) error {
			var l struct{ Seq uint64 }
			if err := json.Unmarshal(text, &l); err != nil {
				return err
			}
			switch {
			case l.Seq == 0 || l.Seq > applied:
				foreign++
			case seen[l.Seq]:
				doubled++
			default:
				seen[l.Seq] = true
			}
			return nil
		})
		return err
	})
	for _, found := range seen[1:] {
		if !found {
			lost++
		}
	}
	return lost, doubled, foreign, err
}

// otherObjects counts objects in the bucket that are not in the catalogue, and objects that are missing from the
// bucket.
func (k *killer) otherObjects(ctx context.Context, plans int) (int, error) {
	events, statistics := 0, 0
	err := k.target.List(ctx, "", func(o uploader.ObjectInfo) error {
		switch {
		case strings.HasPrefix(o.Key, uploader.EventsPrefix):
			events++
		case strings.HasPrefix(o.Key, uploader.StatsPrefix):
			statistics++
		default:
			events += 1 << 20
		}
		return nil
	})
	return max(events-plans, plans-events) + max(statistics-plans, plans-statistics), err
}

// compareRows rebuilds the statistics from the events in the bucket and compares them with the store's.
func (k *killer) compareRows(ctx context.Context, s *store.Store) (rows, differ int, err error) {
	for _, origin := range []reader.Origin{reader.FromEvents, reader.FromStatistics} {
		rebuilt := map[stats.Key]string{}
		_, err = reader.Rebuild(ctx, k.target, reader.RebuildOptions{From: origin, Hour: func(keys []stats.Key, built []*stats.Row) error {
			for i, key := range keys {
				text, _ := built[i].AppendBinary(nil) // its error is always nil
				rebuilt[key] = string(text)
			}
			return nil
		}})
		if err != nil {
			return 0, 0, err
		}
		rows = len(rebuilt)
		err = s.Rows(ctx, 0, 1<<40, func(key stats.Key, row *stats.Row) error {
			text, _ := row.AppendBinary(nil)
			if rebuilt[key] != string(text) {
				differ++
			}
			delete(rebuilt, key)
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		differ += len(rebuilt)
	}
	return rows, differ, nil
}
