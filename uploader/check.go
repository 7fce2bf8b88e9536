package uploader

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/verify"
)

// CheckCatalogue reads every object in the catalogue back from its archive, and compares its size, hashes and metadata with the
// catalogue. Objects of former targets that do not respond are counted as skipped.
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
		checkObject(ctx, c, t, p, p.Key, built{
			rows: p.Rows, lines: p.Lines, rawBytes: p.RawBytes, rawSHA256: p.RawSHA256, objectBytes: p.ObjectBytes, objectSHA256: p.ObjectSHA256,
		})
		if p.StatsKey != "" && p.StatsSHA256 != "" {
			checkObject(ctx, c, t, p, p.StatsKey, built{rows: p.Rows, lines: p.StatsRows, objectBytes: p.StatsBytes, objectSHA256: p.StatsSHA256})
		}
	}
	if elsewhere > 0 {
		c.Skipped = fmt.Sprintf("%d objects are in former archives that do not answer, and were not copied to %s", elsewhere, ts.Current())
	}
	return c, nil
}

// checkObject compares one object with the catalogue and records the result. Zero fields of want are unknown. Only a response from the
// archive is evidence of a problem: a broken connection or a canceled context proves nothing about the object.
func checkObject(ctx context.Context, c *verify.Check, t Target, p *catalogue.Plan, key string, want built) {
	err := compareObject(ctx, t, p, key, want)
	switch {
	case err == nil:
		c.Checked++
	case errors.Is(err, ErrNotFound):
		c.Checked++
		hint := ""
		if c.Found == 0 {
			hint = "; if the archive has moved, name it with --archive"
		}
		c.Problem("%s: not found in %s%s", key, t, hint)
	case errors.Is(err, ErrDamaged):
		c.Checked++
		c.Problem("%s: %v", key, err)
	default:
		c.CannotMake("%s: the archive could not be read: %v", key, err)
	}
}

// compareObject returns nil if the object matches the catalogue. Otherwise, the error wraps ErrDamaged or ErrNotFound, or comes from the
// target.
func compareObject(ctx context.Context, t Target, p *catalogue.Plan, key string, want built) error {
	body, meta, err := t.Get(ctx, key)
	if err != nil {
		return err
	}
	var raw hash.Hash
	if want.rawSHA256 == "" {
		raw = sha256.New()
	}
	found, err := digest(body, cmp.Or(want.rawBytes, rawBytesMax), raw)
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	return want.differs(found, p, meta, t.MetaBytesMax())
}

// differs returns an error that wraps ErrDamaged if an object or its metadata does not match the catalogue.
func (want built) differs(found *built, p *catalogue.Plan, meta map[string]string, metaMax int) error {
	want.rawBytes = cmp.Or(want.rawBytes, found.rawBytes)
	want.rawSHA256 = cmp.Or(want.rawSHA256, found.rawSHA256)
	want.objectSHA256 = cmp.Or(want.objectSHA256, found.objectSHA256)
	if found.objectBytes != want.objectBytes || found.objectSHA256 != want.objectSHA256 || found.lines != want.lines || found.rawBytes != want.rawBytes {
		return Damagedf("%d lines in %d bytes with hash %s; the catalogue says %d lines in %d bytes with hash %s",
			found.lines, found.objectBytes, found.objectSHA256, want.lines, want.objectBytes, want.objectSHA256)
	}
	expected := planMeta(p, &want, metaMax)
	if len(p.Runs) == 0 { // the runs are unknown
		delete(expected, MetaRunCount)
		delete(expected, MetaRuns)
	}
	if d := metaDiffers(expected, meta); d != "" {
		return Damagedf("metadata: %s", d)
	}
	return nil
}
