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

// union is the current target and former ones, for reading. An object that several have is the first one's.
type union struct{ targets []Target }

// errReadOnly is returned for what is written to several archives at once.
var errReadOnly = errors.New("several archives are read as one; nothing can be written there")

// Union returns a target that reads the current archive together with the former ones in which, as plans say, there are objects. Those
// that do not answer are left out; the errors name them.
func (ts *Targets) Union(ctx context.Context, plans []catalogue.Plan) (Target, []error) {
	u, asked := &union{targets: []Target{ts.current}}, map[string]bool{}
	var silent []error
	for i := range plans {
		p := &plans[i]
		at := whereabouts(p.Target)
		if p.State == catalogue.Planned || asked[at] || ts.IsCurrent(p.Target) {
			continue
		}
		asked[at] = true
		t, err := ts.Of(ctx, p)
		if err == nil {
			err = answers(ctx, t)
		}
		if err != nil {
			silent = append(silent, fmt.Errorf("the former archive %s does not answer: %w", p.Target, err))
			continue
		}
		u.targets = append(u.targets, t)
	}
	if len(u.targets) == 1 {
		return ts.current, silent
	}
	return u, silent
}

// answers lists the first object of a target.
func answers(ctx context.Context, t Target) error {
	enough := errors.New("enough")
	if err := t.List(ctx, EventsPrefix, func(ObjectInfo) error { return enough }); !errors.Is(err, enough) {
		return err
	}
	return nil
}

// NameAt is what the catalogue calls the archive in which t has an object: t itself, unless it was made by [Targets.Union].
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

// first asks one target after the other until one has the object.
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

// List implements Target. It lists all targets side by side, so that the order of keys is one.
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

// listed are the objects of a target; the last element may be an error.
func listed(ctx context.Context, t Target, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		enough := errors.New("enough")
		err := t.List(ctx, prefix, func(o ObjectInfo) error {
			if !yield(o, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(ObjectInfo{}, err)
		}
	}
}

// Put implements Target, and fails.
func (u *union) Put(context.Context, string, io.ReadSeeker, int64, map[string]string) error {
	return errReadOnly
}

// MetaBytesMax implements Target.
func (u *union) MetaBytesMax() int { return 0 }

// String implements Target.
func (u *union) String() string { return u.join(Target.String) }

// Name implements Target. It is in no catalogue: see [NameAt].
func (u *union) Name() string { return u.join(Target.Name) }

func (u *union) join(name func(Target) string) string {
	names := make([]string, len(u.targets))
	for i, t := range u.targets {
		names[i] = name(t)
	}
	return strings.Join(names, " and ")
}
