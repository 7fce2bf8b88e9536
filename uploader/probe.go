package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// probeText is the content of the object that tests the archive.
const probeText = "wayside wrote this to test whether it can write here. It may be deleted.\n"

// probeInterval is the time between tests of an archive while there is nothing to archive.
const probeInterval = time.Hour

// prober tests whether the archive can be used. The archive is first needed an hour after wayside starts. Without a test, a mistake in
// the archive's settings would be noticed only then. wayside does not wait for the test before it starts serving.
type prober struct {
	*common
	mu sync.Mutex // held during a test, because two tests would delete each other's object
}

// try tests whether the archive can be used, by writing a small object, reading it back and deleting it, and records the result in the
// status. If wayside has no permission to delete the object, the object stays; wayside needs that permission for nothing else.
func (p *prober) try(ctx context.Context) error {
	p.mu.Lock()
	err := p.test(ctx)
	p.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return err
	}
	p.status.change(func(s *Status) {
		s.Unusable = ""
		if err != nil {
			s.Unusable = printable(err.Error(), errorBytesMax)
		}
	})
	return err
}

func (p *prober) test(ctx context.Context) (err error) {
	ctx, q := p.requests.begin(ctx)
	defer func() { err = q.end(err) }()
	stays, err := Probe(ctx, p.o.Target, p.o.Service, p.o.Instance, p.o.Now())
	if stays != nil {
		p.o.Logger.Debug("cannot delete the object with which the archive was tested; it stays in the archive", "error", stays)
	}
	return err
}

// Probe tests whether wayside can write to a target and read from it, with a small object that it then deletes. stays
// is the reason why the object could not be deleted, or nil; wayside does not need that permission.
func Probe(ctx context.Context, t Target, service, instance string, now time.Time) (stays, err error) {
	key := probeKey(service, instance)
	err = putProbe(ctx, t, key)
	if err != nil && getProbe(ctx, t, key) == nil {
		// The object of an earlier test still exists, and a lock protects it from being replaced.
		key += "_" + strconv.FormatInt(now.Unix(), 10)
		err = putProbe(ctx, t, key)
	}
	if err != nil {
		return nil, err
	}
	if err := getProbe(ctx, t, key); err != nil {
		return nil, fmt.Errorf("an object that was just written cannot be read: %w", err)
	}
	if t, ok := t.(interface {
		removeProbe(ctx context.Context, key string) error
	}); ok {
		stays = t.removeProbe(ctx, key)
	}
	return stays, nil
}

// probeKey returns a key without the suffix of an object, so no reader of the archive mistakes the probe for an archive object.
func probeKey(service, instance string) string {
	return "v1/probe/" + string(catalogue.AppendName(nil, service)) + "_" + string(catalogue.AppendName(nil, instance))
}

func putProbe(ctx context.Context, t Target, key string) error {
	return t.Put(ctx, key, strings.NewReader(probeText), int64(len(probeText)), map[string]string{MetaRows: "0"})
}

// getProbe reads the object and compares its content.
func getProbe(ctx context.Context, t Target, key string) error {
	body, _, err := t.Get(ctx, key)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(body, int64(len(probeText))+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	if string(got) != probeText {
		return fmt.Errorf("%w: %s", ErrNotVerified, key)
	}
	return nil
}

// untilUsable tests the archive, with increasing pauses, until it works or a job has archived something.
func (p *prober) untilUsable(ctx context.Context) {
	pause := p.newPause()
	for reported := ""; ; {
		err := p.try(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if reported != "" {
				p.o.Logger.Info("the archive can be used now", "archive", p.o.Target.String())
			}
			return
		}
		if text := err.Error(); text != reported {
			reported = text
			p.o.Logger.Warn("the archive cannot be used; events stay in the data directory until it can be used",
				"archive", p.o.Target.String(), "error", printable(text, errorBytesMax))
		}
		if sleep(ctx, pause.NextBackOff()) != nil {
			return
		}
		archived := false
		p.status.change(func(s *Status) { archived = s.ArchivedObjects > 0 })
		if archived {
			return
		}
	}
}

// await tests the archive until it works, but at most for the given time.
func (p *prober) await(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, time.Second
	for reason := error(nil); ; {
		err := p.try(ctx)
		if err == nil {
			return nil
		}
		if reason == nil || ctx.Err() == nil { // if the timeout ended the test, the error says nothing about the reason
			reason = err
		}
		if err := sleep(ctx, pause.NextBackOff()); err != nil {
			return errors.Join(reason, err)
		}
	}
}
