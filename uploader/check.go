package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// CheckCatalogue reads every object that the catalogue says is archived back from the target, and compares size, hashes and
// metadata with what was noted when it was verified. Objects of former targets are looked for there, and those of one that cannot be
// asked are counted as skipped.
func CheckCatalogue(ctx context.Context, plans []*catalogue.Plan, ts *Targets) (*verify.Check, error) {
	c := &verify.Check{Name: "catalogue against archive", Of: "objects"}
	elsewhere := 0
	for _, p := range plans {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		if p.State == catalogue.Planned || !p.ExpiredAt.IsZero() {
			continue
		}
		t, err := ts.Holder(ctx, p)
		if err != nil {
			elsewhere++
			continue
		}
		c.Checked++
		if err := checkObject(ctx, p, t); err != nil {
			note(c, p.Key, t, err)
		}
		if p.StatsKey == "" || p.StatsSHA256 == "" {
			continue
		}
		c.Checked++
		if err := checkStatistics(ctx, p, t); err != nil {
			note(c, p.StatsKey, t, err)
		}
	}
	if elsewhere > 0 {
		c.Skipped = fmt.Sprintf("%d objects are in former archives that cannot be asked, and not in %s", elsewhere, ts.Current())
	}
	return c, nil
}

// errNotAsked says that the archive did not answer, which tells nothing of the object.
var errNotAsked = errors.New("the archive could not be asked")

// ask is Get, whose error wraps [errNotAsked] unless it says something of the object.
func ask(ctx context.Context, t Target, key string) (io.ReadCloser, map[string]string, error) {
	body, meta, err := t.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: %w", errNotAsked, err)
	}
	return body, meta, err
}

func note(c *verify.Check, key string, t Target, err error) {
	if errors.Is(err, ErrNotFound) { // whose text says the key again, once for each file that was looked for
		hint := ""
		if c.Found == 0 {
			hint = "; if the archive is elsewhere now, name it with --archive"
		}
		c.Problem("%s: is not in %s%s", key, t, hint)
		return
	}
	if errors.Is(err, errNotAsked) {
		c.Checked--
		c.CannotMake("%s: %v", key, err)
		return
	}
	c.Problem("%s: %v", key, err)
}

func checkObject(ctx context.Context, p *catalogue.Plan, t Target) error {
	body, meta, err := ask(ctx, t, p.Key)
	if err != nil {
		return err
	}
	rawMax := p.RawBytes
	if rawMax == 0 { // an entry that was made again from the archive does not know
		rawMax = RawBytesMax
	}
	found, err := digest(body, rawMax)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	if found.objectBytes != p.ObjectBytes || (p.ObjectSHA256 != "" && found.objectSHA256 != p.ObjectSHA256) ||
		found.lines != p.Lines || (p.RawBytes > 0 && found.rawBytes != p.RawBytes) {
		return fmt.Errorf("%d lines in %d bytes with hash %s; the catalogue says %d in %d with %s",
			found.lines, found.objectBytes, found.objectSHA256, p.Lines, p.ObjectBytes, p.ObjectSHA256)
	}
	if p.RawBytes == 0 || len(p.Runs) == 0 {
		want := map[string]string{MetaRawSHA256: p.RawSHA256, MetaRows: fmt.Sprint(p.Rows), MetaLines: fmt.Sprint(p.Lines)}
		return metaAsNoted(want, meta)
	}
	noted := &built{rows: p.Rows, lines: p.Lines, rawBytes: p.RawBytes, rawSHA256: p.RawSHA256}
	return metaAsNoted(planMeta(p, noted, t.MetaBytesMax()), meta)
}

func metaAsNoted(want, got map[string]string) error {
	if d := metaDiffers(want, got); d != "" {
		return fmt.Errorf("metadata: %s", d)
	}
	return nil
}

// checkStatistics does the same for the statistics that were archived beside an object, as far as the catalogue knows them.
func checkStatistics(ctx context.Context, p *catalogue.Plan, t Target) error {
	body, meta, err := ask(ctx, t, p.StatsKey)
	if err != nil {
		return err
	}
	raw := sha256.New()
	found, err := digestRaw(body, RawBytesMax, raw)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	if found.objectBytes != p.StatsBytes || found.objectSHA256 != p.StatsSHA256 || found.lines != p.StatsRows {
		return fmt.Errorf("%d lines in %d bytes with hash %s; the catalogue says %d in %d with %s",
			found.lines, found.objectBytes, found.objectSHA256, p.StatsRows, p.StatsBytes, p.StatsSHA256)
	}
	if len(p.Runs) == 0 {
		return nil
	}
	noted := &built{rows: p.Rows, lines: p.StatsRows, rawBytes: found.rawBytes, rawSHA256: hex.EncodeToString(raw.Sum(nil))}
	return metaAsNoted(planMeta(p, noted, t.MetaBytesMax()), meta)
}
