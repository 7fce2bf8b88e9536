package uploader

import (
	"context"
	"fmt"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/crash"
)

// deleter is a target that can remove objects. S3 targets cannot, on purpose: a bucket's lifecycle does it without giving
// every pod the permission to delete.
type deleter interface {
	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// expire removes event objects that have been in the archive for longer than Options.Expire and whose events are deleted
// locally. Statistics objects stay.
func (u *Uploader) expire(ctx context.Context, r *Result) error {
	target, ok := u.o.Target.(deleter)
	if u.o.Expire <= 0 || !ok {
		return nil
	}
	due, err := u.expired(ctx)
	if err != nil {
		return err
	}
	for _, p := range due {
		crash.Point("uploader.expire.before")
		if err := target.Delete(ctx, p.Key); err != nil {
			return err
		}
		crash.Point("uploader.expire.deleted")
		p.ExpiredAt = u.o.Now().UTC()
		if err := u.o.Catalogue.MarkExpired(ctx, p); err != nil {
			return fmt.Errorf("enter that %s has expired: %w", p.Key, err)
		}
		r.Expired++
	}
	return nil
}

// expired returns copies of the plans whose object is due for removal.
func (u *Uploader) expired(ctx context.Context) ([]*catalogue.Plan, error) {
	seen, err := u.observed()
	if err != nil {
		return nil, err
	}
	var due []*catalogue.Plan
	err = u.o.Catalogue.PlansIn(ctx, catalogue.Deleted, func(p *catalogue.Plan) error {
		// Only what is here: after a change of the target, old objects are none of its business. Objects that moved here, with the
		// data directory or by themselves, are.
		if p.ExpiredAt.IsZero() && seen-p.Observed >= u.o.Expire && (u.o.Targets.IsCurrent(p.Target) || u.inPlace(ctx, u.o.Target, p) == nil) {
			c := *p
			due = append(due, &c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the archive catalogue: %w", err)
	}
	return due, nil
}
