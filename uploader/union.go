package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// union combines the current target and former ones for reading. If several of them have an object, the first one takes
// precedence.
type union struct{ targets []Target }

// errReadOnly is the error of every write to a union.
var errReadOnly = errors.New("several archives are combined for reading; nothing can be written to them")

// Union returns a target that combines the current archive with the former archives that have objects according to the plans. Former
// archives that do not respond are excluded and named in the errors.
func (ts *Targets) Union(ctx context.Context, plans []catalogue.Plan) (Target, []error) {
	u, asked := &union{targets: []Target{ts.current}}, map[string]bool{}
	var silent []error
	for i := range plans {
		p := &plans[i]
		place := location(p.Target)
		if p.State == catalogue.Planned || asked[place] || ts.IsCurrent(p.Target) {
			continue
		}
		asked[place] = true
		t, err := ts.Of(ctx, p)
		if err == nil {
			err = answers(ctx, t)
		}
		if err != nil {
			silent = append(silent, fmt.Errorf("the former archive %s does not respond: %w", p.Target, err))
			continue
		}
		u.targets = append(u.targets, t)
	}
	if len(u.targets) == 1 {
		return ts.current, silent
	}
	return u, silent
}

// answers lists the first object of a target, to find out whether the target responds.
func answers(ctx context.Context, t Target) error {
	next, stop := iter.Pull2(listed(ctx, t, EventsPrefix))
	defer stop()
	_, err, _ := next()
	return err
}

// NameAt returns the catalogue's name of the archive that has an object. This is the name of t, unless t was returned by [Targets.Union].
func NameAt(ctx context.Context, t Target, key string) string {
	u, several := t.(*union)
	if !several {
		return t.Name()
	}
	at, err := first(u, func(t Target) (Target, error) {
		_, err := t.Stat(ctx, key)
		return t, err
	})
	if err != nil {
		return u.Name()
	}
	return at.Name()
}

// first calls ask for one target after another until one of them has the object.
func first[T any](u *union, ask func(Target) (T, error)) (answer T, err error) {
	for _, t := range u.targets {
		if answer, err = ask(t); !errors.Is(err, ErrNotFound) {
			return answer, err
		}
	}
	return answer, err
}

// Stat implements Target.
func (u *union) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	return first(u, func(t Target) (ObjectInfo, error) { return t.Stat(ctx, key) })
}

// Get implements Target.
func (u *union) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	type object struct {
		body io.ReadCloser
		meta map[string]string
	}
	o, err := first(u, func(t Target) (object, error) {
		body, meta, err := t.Get(ctx, key)
		return object{body, meta}, err
	})
	return o.body, o.meta, err
}

// List implements Target. It lists all targets in parallel and merges them in the order of keys.
func (u *union) List(ctx context.Context, prefix string, fn func(ObjectInfo) error) error {
	type list struct {
		next ObjectInfo
		pull func() (ObjectInfo, error, bool)
	}
	var lists []*list
	step := func(l *list) (more bool, err error) {
		l.next, err, more = l.pull()
		return more, err
	}
	for _, t := range u.targets {
		l := &list{}
		var stop func()
		l.pull, stop = iter.Pull2(listed(ctx, t, prefix))
		defer stop()
		if more, err := step(l); err != nil {
			return err
		} else if more {
			lists = append(lists, l)
		}
	}
	for before := ""; len(lists) > 0; {
		at := 0
		for i := range lists {
			if lists[i].next.Key < lists[at].next.Key {
				at = i
			}
		}
		if o := lists[at].next; o.Key != before {
			before = o.Key
			if err := fn(o); err != nil {
				return err
			}
		}
		if more, err := step(lists[at]); err != nil {
			return err
		} else if !more {
			lists = append(lists[:at], lists[at+1:]...)
		}
	}
	return nil
}

// listed iterates over the objects of a target. The last element may be an error.
func listed(ctx context.Context, t Target, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		errStop := errors.New("stop")
		err := t.List(ctx, prefix, func(o ObjectInfo) error {
			if !yield(o, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(ObjectInfo{}, err)
		}
	}
}

// Put implements Target. It always fails.
func (u *union) Put(context.Context, string, io.ReadSeeker, int64, map[string]string) error {
	return errReadOnly
}

// MetaBytesMax implements Target.
func (u *union) MetaBytesMax() int { return 0 }

// String implements Target.
func (u *union) String() string { return u.join(Target.String) }

// Name implements Target. No catalogue contains this name (see [NameAt]).
func (u *union) Name() string { return u.join(Target.Name) }

func (u *union) join(name func(Target) string) string {
	names := make([]string, len(u.targets))
	for i, t := range u.targets {
		names[i] = name(t)
	}
	return strings.Join(names, " and ")
}
