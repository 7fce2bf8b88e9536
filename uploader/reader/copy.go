package reader

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/wayside-proxy/wayside/uploader"
)

// CopyOptions say what is copied.
type CopyOptions struct {
	Range             // whole hours: an object is copied or not
	Service, Instance string
	Progress          func(done, total int, key string)
}

// Copied is what [Copy] did.
type Copied struct {
	Objects int      `json:"objects"` // event objects
	Bytes   uint64   `json:"bytes"`   // of all objects
	Rows    uint64   `json:"rows"`
	Lines   uint64   `json:"lines"`
	Events  []Object `json:"-"` // the event objects, in the order of hours
}

// Copy copies event objects and their statistics from one target to another, and reads each copy back: it must be the
// bytes that were read, and hold what its metadata says. An object is held in memory while it is copied. Copying again is
// harmless.
func Copy(ctx context.Context, from, to uploader.Target, o CopyOptions) (*Copied, error) {
	out := &Copied{}
	err := List(ctx, from, o.Range, func(obj Object) error {
		if (o.Service == "" || o.Service == obj.Service) && (o.Instance == "" || o.Instance == obj.Instance) {
			out.Events = append(out.Events, obj)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	for i := range out.Events {
		key := out.Events[i].Key
		if o.Progress != nil {
			o.Progress(i, len(out.Events), key)
		}
		c, err := copyObject(ctx, from, to, key, true)
		if err != nil {
			return out, err
		}
		out.Objects++
		out.Bytes += c.Bytes
		out.Rows += c.Rows
		out.Lines += c.Lines
	}
	wanted := map[string]bool{}
	for i := range out.Events {
		wanted[out.Events[i].Key] = true
	}
	err = from.List(ctx, uploader.StatsPrefix, func(info uploader.ObjectInfo) error {
		if !wanted[uploader.EventsKey(info.Key)] {
			return nil
		}
		c, err := copyObject(ctx, from, to, info.Key, false)
		if err == nil {
			out.Bytes += c.Bytes
		}
		return err
	})
	return out, err
}

func copyObject(ctx context.Context, from, to uploader.Target, key string, numbered bool) (*Contents, error) {
	body, meta, err := from.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(body)
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if err := uploader.CheckFormat(key, meta); err != nil {
		return nil, err
	}
	if err := to.Put(ctx, key, bytes.NewReader(content), int64(len(content)), meta); err != nil {
		return nil, err
	}
	c, err := scan(ctx, to, key, numbered, nil)
	if err != nil {
		return nil, err
	}
	if want := meta[uploader.MetaRawSHA256]; c.RawSHA256 != want || c.Bytes != uint64(len(content)) {
		return nil, fmt.Errorf("%s: its content has hash %s, its metadata says %s: see wayside archive verify", key, c.RawSHA256, want)
	}
	return c, nil
}

// Merge calls fn with every line of the objects of one epoch in the order of sequence numbers, whichever object holds it.
// Only objects whose numbers overlap are open at the same time. The line is valid during the call.
func Merge(ctx context.Context, t uploader.Target, objects []Object, fn func(o *Object, l *uploader.Line) error) error {
	m := merge{ctx: ctx, t: t, waiting: slices.Clone(objects)}
	defer m.close()
	slices.SortFunc(m.waiting, func(a, b Object) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for {
		for len(m.waiting) > 0 && (len(m.open) == 0 || m.waiting[0].First <= m.open[0].line.Seq) {
			if err := m.begin(&m.waiting[0]); err != nil {
				return err
			}
			m.waiting = m.waiting[1:]
		}
		if len(m.open) == 0 {
			return nil
		}
		if err := fn(m.open[0].object, m.open[0].line); err != nil {
			return err
		}
		if err := m.next(); err != nil {
			return err
		}
	}
}

// stream is an object that is being read.
type stream struct {
	object *Object
	line   *uploader.Line
	pull   func() (*uploader.Line, error, bool)
	stop   func()
}

// merge is a heap of streams by their next sequence number.
type merge struct {
	ctx     context.Context //nolint:containedctx // lives for one merge
	t       uploader.Target
	waiting []Object
	open    []*stream
}

func (m *merge) Len() int           { return len(m.open) }
func (m *merge) Less(i, j int) bool { return m.open[i].line.Seq < m.open[j].line.Seq }
func (m *merge) Swap(i, j int)      { m.open[i], m.open[j] = m.open[j], m.open[i] }
func (m *merge) Push(x any)         { m.open = append(m.open, x.(*stream)) } //nolint:forcetypeassert // heap.Push of this file
func (m *merge) Pop() any {
	last := m.open[len(m.open)-1]
	m.open = m.open[:len(m.open)-1]
	return last
}

func (m *merge) begin(o *Object) error {
	object := *o
	s := &stream{object: &object}
	s.pull, s.stop = iter.Pull2(lines(m.ctx, m.t, object.Key))
	ok, err := s.step()
	if ok {
		heap.Push(m, s)
	}
	return err
}

// next moves the first stream on.
func (m *merge) next() error {
	ok, err := m.open[0].step()
	if err != nil {
		return err
	}
	if !ok {
		heap.Pop(m)
		return nil
	}
	heap.Fix(m, 0)
	return nil
}

func (m *merge) close() {
	for _, s := range m.open {
		s.stop()
	}
}

// step reads the next line; false at the end.
func (s *stream) step() (bool, error) {
	line, err, ok := s.pull()
	if !ok || err != nil {
		s.stop()
		return false, err
	}
	s.line = line
	return true, nil
}

// lines are the lines of an object; the last element may be an error.
func lines(ctx context.Context, t uploader.Target, key string) iter.Seq2[*uploader.Line, error] {
	return func(yield func(*uploader.Line, error) bool) {
		_, err := Scan(ctx, t, key, func(text []byte) error {
			line := &uploader.Line{}
			if err := json.Unmarshal(text, line); err != nil {
				return err
			}
			if err := uploader.CheckSchema(key, line.Schema); err != nil {
				return err
			}
			if !yield(line, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}
