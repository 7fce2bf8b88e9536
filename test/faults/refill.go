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

// earlierPrefix begins the paths of the responses that are in the archive before the store is damaged.
const earlierPrefix = "/earlier"

// runRefill damages the store in a random way under traffic. The store must be set aside and filled again from the archive, also if
// the books process is killed meanwhile, which happens in every other cycle: GET /api/v1/paths must say of the archived responses
// exactly what it said before, and each other response must be in it or be counted as lost.
func runRefill(ctx context.Context, l *Lab, p *Piece) error {
	return p.each(ctx, l, func(random *rand.Rand, n int) (Outcome, error) {
		t, err := l.newTrial(quietEnv...)
		if err != nil {
			return Outcome{}, err
		}
		t.lossy, t.killsRefill = true, n%2 == 1
		o, err := t.refill(ctx, random)
		if err != nil {
			err = fmt.Errorf("%s: %w", o.Note, err)
		}
		t.end(err != nil)
		return o, err
	})
}

func (t *trial) refill(ctx context.Context, random *rand.Rand) (o Outcome, err error) {
	before, err := t.archiveEarlier(ctx, random)
	if err != nil {
		return o, err
	}
	t.startTraffic(ctx, 4000)
	t.awaitTraffic(ctx, 200+uint64(random.IntN(800)), 5*time.Second) //nolint:gosec // small
	note, err := damageStore(random, filepath.Join(t.dataDir, "store"))
	o.Note = note
	if err != nil {
		return o, err
	}
	began := time.Now()
	if random.IntN(2) == 0 {
		kill(t.w.BooksPID()) // else a verification finds it
	}
	if t.killsRefill {
		for range 1 + random.IntN(3) {
			sleep(ctx, time.Duration(random.IntN(300))*time.Millisecond)
			t.w.KillBooks()
		}
	}
	if err := t.awaitWhole(ctx); err != nil {
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

// archiveEarlier fills the archive with several objects and returns what GET /api/v1/paths says of them.
func (t *trial) archiveEarlier(ctx context.Context, random *rand.Rand) (map[string]string, error) {
	if _, err := t.restart(ctx); err != nil {
		return nil, err
	}
	t.traffic.prefix = earlierPrefix
	defer func() { t.traffic.prefix = "" }()
	settle, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for range 3 + random.IntN(8) {
		t.startTraffic(ctx, 4000)
		t.awaitTraffic(ctx, 50+uint64(random.IntN(300)), 5*time.Second) //nolint:gosec // small
		if err := t.traffic.stop(); err != nil {
			return nil, err
		}
		if _, err := t.w.Settle(settle); err != nil {
			return nil, err
		}
		if _, err := t.w.Ask(settle, http.MethodPost, "/-/job/archive?all=true"); err != nil {
			return nil, err
		}
	}
	rows, _, err := t.rows(settle)
	return rows, err
}

// awaitWhole has wayside verify itself until it finds nothing, and is filled again.
func (t *trial) awaitWhole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
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

// rows returns what GET /api/v1/paths says of each path over all hours, as far as it does not change with the time of the question,
// and the number of responses in all rows.
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

// compareRows compares the rows with those before the damage, and the counts with each other.
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
				errs = append(errs, fmt.Errorf("the row of %s was\n%s\nand is\n%s", path, row, after[path]))
			}
		}
	}
	if earlier == 0 {
		errs = append(errs, fmt.Errorf("no row of the archived responses: %v", before))
	}
	if lost := o.Dropped + o.Quarantined; responses+lost != o.Received || t.books.Lines != responses {
		errs = append(errs, fmt.Errorf("%d responses in the rows and %d lines in the archive, %d dropped and %d quarantined, of %d",
			responses, t.books.Lines, o.Dropped, o.Quarantined, o.Received))
	}
	return errors.Join(errs...)
}

// damageStore damages one file of a store in a random way, and says what it did.
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
		return "", fmt.Errorf("no file with content in %s", dir)
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
	say := func(how string) string {
		return fmt.Sprintf("store/%s: %s at %d of %d", filepath.Base(name), how, at, info.Size())
	}
	piece := make([]byte, min(1+random.Int64N(64<<10), size-at))
	switch random.IntN(6) {
	case 0:
		return say("removed"), os.Remove(name)
	case 1:
		return say("cut off"), f.Truncate(at)
	case 2: // zeros
	case 3:
		for i := range piece {
			piece[i] = byte(random.Uint32()) //nolint:gosec // the low byte
		}
	case 4: // what is in another place of the file
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
	return say(fmt.Sprintf("%d bytes overwritten", len(piece))), err
}
