package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
	"github.com/wayside-proxy/wayside/uploader"
)

// Books describes the contents of the archive, read object by object.
type Books struct {
	Objects int
	Lines   uint64 // number of lines, without drop records
	Drops   uint64 // number of drop records
	Dropped uint64 // number of responses that the drop records report: the sum of the last figure for each reason and epoch
	Nonces  load.Bitmap
	Doubled uint64 // number of lines whose nonce is also in an earlier line
	IDs     map[string]struct{}
	Foreign uint64 // number of lines whose path has no nonce
	Status  map[int]uint64
	Minutes map[int64]uint64 // number of lines by the minute of their time, counted since 1970

	each  func(Line)
	drops map[string]Line // the last drop record, by epoch and reason
}

// Line is the part of an archived event that the tests need.
type Line struct {
	EventID string    `json:"event_id"`
	Time    time.Time `json:"ts"`
	Path    string    `json:"url_path"`
	Kind    string    `json:"kind"`
	Status  int       `json:"http_response_status_code"`
	Error   string    `json:"error_type"`
	Epoch   string    `json:"epoch"`
	Seq     uint64    `json:"seq"`
	Method  string    `json:"http_request_method"`
	Route   string    `json:"route"`
	Server  string    `json:"upstream_address"`
	Tries   int       `json:"attempts"` // 0: one
	Label   string    `json:"url_template"`
	TraceID string    `json:"trace_id"`
	Micros  uint64    `json:"duration_us"`
	Dropped uint64    `json:"dropped"` // number of responses dropped for this reason since the epoch began; only in drop records
}

// ReadBooks downloads all objects of the target and reads all their lines.
func ReadBooks(ctx context.Context, target uploader.Target) (*Books, error) {
	return ReadBooksEach(ctx, target, nil)
}

// ReadBooksEach is like ReadBooks, but also calls each with every line, unless each is nil.
func ReadBooksEach(ctx context.Context, target uploader.Target, each func(Line)) (*Books, error) {
	b := &Books{IDs: map[string]struct{}{}, Status: map[int]uint64{}, Minutes: map[int64]uint64{}, each: each, drops: map[string]Line{}}
	var keys []string
	err := target.List(ctx, "v1/dt=", func(info uploader.ObjectInfo) error {
		if strings.HasSuffix(info.Key, ".ndjson.gz") {
			keys = append(keys, info.Key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	for _, key := range keys {
		if err := b.readObject(ctx, target, key); err != nil {
			return nil, fmt.Errorf("object %s: %w", key, err)
		}
	}
	return b, nil
}

func (b *Books) readObject(ctx context.Context, target uploader.Target, key string) error {
	body, _, err := target.Get(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	unzipped, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	b.Objects++
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		b.add(l)
	}
	return lines.Err()
}

func (b *Books) add(l Line) {
	if b.each != nil {
		b.each(l)
	}
	if l.Kind == "drop" {
		b.Drops++
		of := l.Epoch + " " + l.Error
		if last := b.drops[of]; l.Seq > last.Seq {
			b.drops[of] = l
			b.Dropped += l.Dropped - last.Dropped
		}
		return
	}
	b.Lines++
	b.IDs[l.EventID] = struct{}{}
	b.Status[l.Status]++
	b.Minutes[l.Time.Unix()/60]++
	nonce, ok := load.Nonce([]byte(l.Path))
	switch {
	case !ok:
		b.Foreign++
	case !b.Nonces.Set(nonce):
		b.Doubled++
	}
}
