package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// earlierPrefix is the prefix of the paths whose responses are archived before the store is damaged.
const earlierPrefix = "/earlier"

// runRefill damages the store in a random way under traffic. The store must be set aside, and the next store must be refilled from the
// archive. In half of the cycles, the books process is killed during the refill. For the archived responses, GET /api/v1/paths must return
// exactly the same figures as before the damage. All other responses must be in the rows or be counted as lost.
func runRefill(ctx context.Context, l *Lab, p *Piece) error {
	return p.trials(ctx, l, quietEnv, func(t *trial, random *rand.Rand, n int) (Outcome, error) {
		t.lossy, t.killsRefill = true, n%2 == 1
		o, err := damageAndRefill(ctx, t, random)
		if err != nil {
			err = fmt.Errorf("%s: %w", o.Note, err)
		}
		return o, err
	})
}

func damageAndRefill(ctx context.Context, t *trial, random *rand.Rand) (o Outcome, err error) {
	before, err := t.archiveEarlier(ctx, random)
	if err != nil {
		return o, err
	}
	t.startTraffic(ctx, 4000)
	t.awaitTraffic(ctx, 200+uint64(random.IntN(800)), 5*time.Second)
	note, err := damageStore(random, filepath.Join(t.dataDir, "store"))
	o.Note = note
	if err != nil {
		return o, err
	}
	began := time.Now()
	if random.IntN(2) == 0 {
		kill(t.w.BooksPID()) // then the next start finds the damage; otherwise, a verification finds it
	}
	if t.killsRefill {
		for range 1 + random.IntN(3) {
			sleep(ctx, time.Duration(random.IntN(300))*time.Millisecond)
			t.w.KillBooks()
		}
	}
	if err := t.awaitRefilled(ctx); err != nil {
		return o, err
	}
	took := time.Since(began)
	t.awaitTraffic(ctx, 300, 5*time.Second)
	o, err = t.auditDamaged(ctx, "store/")
	o.Note, o.Recovery, o.Failed = note, took, t.traffic.report.FailedTotal()
	if o.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests failed: %v", o.Failed, t.traffic.report.Errors))
	}
	if err == nil {
		err = t.compareRows(ctx, o, before)
	}
	return o, errors.Join(err, t.reported(o))
}

// archiveEarlier archives several objects, and returns the rows of GET /api/v1/paths for their paths.
func (t *trial) archiveEarlier(ctx context.Context, random *rand.Rand) (map[string]string, error) {
	if _, err := t.restart(ctx); err != nil {
		return nil, err
	}
	t.traffic.prefix = earlierPrefix
	defer func() { t.traffic.prefix = "" }()
	settle, cancel := context.WithTimeout(ctx, settledTimeout)
	defer cancel()
	for range 3 + random.IntN(8) {
		t.startTraffic(ctx, 4000)
		t.awaitTraffic(ctx, 50+uint64(random.IntN(300)), 5*time.Second)
		if err := t.traffic.stop(); err != nil {
			return nil, err
		}
		if _, err := t.w.AwaitSettled(settle); err != nil {
			return nil, err
		}
		if _, err := t.w.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
			return nil, err
		}
	}
	rows, _, err := t.rows(settle)
	return rows, err
}

// awaitRefilled waits until the store has been refilled and a verification finds no problems.
func (t *trial) awaitRefilled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settledTimeout)
	defer cancel()
	for {
		err := t.w.AwaitRefill(ctx)
		if err == nil {
			err = t.verified(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// rows returns the rows of GET /api/v1/paths for all hours, without the fields that depend on the current time, and the
// total number of responses in them.
func (t *trial) rows(ctx context.Context) (rows map[string]string, responses uint64, err error) {
	body, err := t.w.Ask(ctx, http.MethodGet, "/api/v1/paths?from=-30d&limit=10000")
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Paths []map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, 0, err
	}
	rows = map[string]string{}
	for _, row := range answer.Paths {
		var path string
		var count uint64
		if err := errors.Join(json.Unmarshal(row["path"], &path), json.Unmarshal(row["count"], &count)); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", body, err)
		}
		responses += count
		delete(row, "rate")
		delete(row, "seconds")
		text, err := json.Marshal(row)
		if err != nil {
			return nil, 0, err
		}
		rows[path] = string(text)
	}
	return rows, responses, nil
}

// compareRows compares the rows with those from before the damage, and checks that the counts agree with each other.
func (t *trial) compareRows(ctx context.Context, o Outcome, before map[string]string) error {
	after, responses, err := t.rows(ctx)
	if err != nil {
		return err
	}
	var errs []error
	earlier := 0
	for path, row := range before {
		if strings.HasPrefix(path, earlierPrefix) {
			earlier++
			if after[path] != row {
				errs = append(errs, fmt.Errorf("the row of %s was\n%s\nand is now\n%s", path, row, after[path]))
			}
		}
	}
	if earlier == 0 {
		errs = append(errs, fmt.Errorf("there is no row of the archived responses: %v", before))
	}
	if lost := o.Dropped + o.Quarantined; responses+lost != o.Received || t.books.Lines != responses {
		errs = append(errs, fmt.Errorf("%d responses in the rows, %d lines in the archive, %d dropped and %d quarantined do not add up to the %d received",
			responses, t.books.Lines, o.Dropped, o.Quarantined, o.Received))
	}
	return errors.Join(errs...)
}

// damageStore damages one file of a store in a random way, and describes what it did.
func damageStore(random *rand.Rand, dir string) (string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if names = withContent(names); len(names) == 0 {
		return "", fmt.Errorf("%s has no file with contents", dir)
	}
	name := names[random.IntN(len(names))]
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	size := used(f, info.Size())
	at := random.Int64N(size)
	note := func(change string) string {
		return fmt.Sprintf("store/%s: %s at byte %d of %d", filepath.Base(name), change, at, info.Size())
	}
	piece := make([]byte, min(1+random.Int64N(64<<10), size-at))
	switch random.IntN(6) {
	case 0:
		return note("removed"), os.Remove(name)
	case 1:
		return note("truncated"), f.Truncate(at)
	case 2: // overwritten with zeros
	case 3:
		for i := range piece {
			piece[i] = byte(random.Uint32())
		}
	case 4: // overwritten with another piece of the file
		if _, err := f.ReadAt(piece, random.Int64N(size-int64(len(piece))+1)); err != nil {
			return "", err
		}
	case 5:
		piece = piece[:1]
		if _, err := f.ReadAt(piece, at); err != nil {
			return "", err
		}
		piece[0] ^= 1 << random.IntN(8)
	}
	_, err = f.WriteAt(piece, at)
	return note(fmt.Sprintf("%d bytes overwritten", len(piece))), err
}
