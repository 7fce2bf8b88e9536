package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// An archive is not needed before the first schedule, an hour after the start, and a mistake in its settings would be found only
// then. So it is tried at the start: a small object is written, read back and deleted. Nothing waits for that.

// probeText is the content of the object that tries the archive.
const probeText = "wayside tries whether it can write here. This may be deleted.\n"

// probeInterval is how often an archive is tried that has nothing to take.
const probeInterval = time.Hour

// probeKey has no suffix of an object's, so that nobody who reads an archive takes it for one.
func (u *Uploader) probeKey() string {
	return "v1/probe/" + string(catalogue.AppendName(nil, u.o.Service)) + "_" + string(catalogue.AppendName(nil, u.o.Instance))
}

// Probe tries whether the archive takes objects: one is written, read back and deleted. A target that does not let wayside delete,
// which wayside does not need, keeps that one object.
func (u *Uploader) Probe(ctx context.Context) error {
	u.probing.Lock() // two of them would delete each other's object
	err := u.probe(ctx)
	u.probing.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return err
	}
	u.status.Unusable = ""
	if err != nil {
		u.status.Unusable = printable(err.Error(), errorBytesMax)
	}
	return err
}

func (u *Uploader) probe(ctx context.Context) (err error) {
	ctx, s := u.attend(ctx)
	defer func() { err = s.end(err) }()
	key := u.probeKey()
	err = u.putProbe(ctx, key)
	if err != nil && u.getProbe(ctx, key) == nil {
		// It is there from before, and must not be replaced: a lock protects it.
		key += "_" + strconv.FormatInt(u.o.Now().Unix(), 10)
		err = u.putProbe(ctx, key)
	}
	if err != nil {
		return err
	}
	if err := u.getProbe(ctx, key); err != nil {
		return fmt.Errorf("what was just written cannot be read: %w", err)
	}
	if t, ok := u.o.Target.(interface {
		removeProbe(ctx context.Context, key string) error
	}); ok {
		if err := t.removeProbe(ctx, key); err != nil {
			u.o.Logger.Debug("the object that tried the archive stays there", "key", key, "error", err)
		}
	}
	return nil
}

func (u *Uploader) putProbe(ctx context.Context, key string) error {
	return u.o.Target.Put(ctx, key, strings.NewReader(probeText), int64(len(probeText)), map[string]string{MetaRows: "0"})
}

// getProbe reads the object that tries the archive, and compares it.
func (u *Uploader) getProbe(ctx context.Context, key string) error {
	body, _, err := u.o.Target.Get(ctx, key)
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

// keepProbing tries the archive until that succeeds, or a job has archived something, with growing pauses.
func (u *Uploader) keepProbing(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.Multiplier = u.o.BackoffMin, u.o.BackoffMax, 2
	for failed := ""; ; {
		err := u.Probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failed != "":
			u.o.Logger.Info("the archive can be used now", "archive", u.o.Target.String())
			return
		case err == nil:
			return
		}
		if text := err.Error(); text != failed {
			failed = text
			u.o.Logger.Warn("the archive cannot be used; events stay in the data directory until it can",
				"archive", u.o.Target.String(), "error", printable(text, errorBytesMax))
		}
		if sleep(ctx, pause.NextBackOff()) != nil || u.Status().ArchivedObjects > 0 {
			return
		}
	}
}

// failing reports whether the last that was heard of the archive was a failure.
func (u *Uploader) failing() bool {
	s := u.Status()
	return s.Archive.ConsecutiveFailures > 0 || s.Unusable != ""
}

// lastTry is how long an archive that fails is waited for at the end of the process.
const lastTry = 5 * time.Second

// Shutdown archives everything that is applied, the open hour included. While the archive works it goes on until that is done or ctx
// ends. An archive that was failing already, or fails now, is given a few seconds to work again; if it does not, what is left stays
// in the data directory. Run must have returned, and nothing more should be applied.
func (u *Uploader) Shutdown(ctx context.Context) (Result, error) {
	var total Result
	var err error
	since := u.o.Elapsed() // when the archive last did anything
	for doubted := u.failing(); ; doubted = true {
		if doubted {
			if probed := u.awaitTarget(ctx, lastTry-(u.o.Elapsed()-since)); probed != nil {
				return total, fmt.Errorf("archive at shutdown: %w", errors.Join(err, probed))
			}
		}
		var r Result
		r, err = u.ArchiveOnce(ctx, true)
		total.add(&r)
		switch {
		case err == nil:
			return total, nil
		case ctx.Err() != nil:
			return total, fmt.Errorf("archive at shutdown: %w", errors.Join(err, ctx.Err()))
		case r.Objects > 0 || !doubted:
			since = u.o.Elapsed()
		case u.o.Elapsed()-since >= lastTry: // it answers, and takes nothing all the same
			return total, fmt.Errorf("archive at shutdown: %w", err)
		}
		_ = sleep(ctx, lastTry/20) // its end is seen above
	}
}

// awaitTarget asks the archive whether it works, again and again for at most so long.
func (u *Uploader) awaitTarget(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, time.Second
	for said := error(nil); ; {
		err := u.Probe(ctx)
		if err == nil {
			return nil
		}
		if said == nil || ctx.Err() == nil { // what the end of the time has cut off does not say why
			said = err
		}
		if err := sleep(ctx, pause.NextBackOff()); err != nil {
			return errors.Join(said, err)
		}
	}
}
