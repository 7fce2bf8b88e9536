package reader

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// CopyOptions say what is copied.
type CopyOptions struct {
	Range             // whole hours: an object is copied or not
	Service, Instance string
	Expect            Expected // used up
	TempDir           string   // for one object at a time; empty means the system's
	Progress          func(done, total int, key string)
}

// Copied is what [Copy] did.
type Copied struct {
	Objects int      `json:"objects"` // event objects
	Bytes   uint64   `json:"bytes"`   // of all objects
	Rows    uint64   `json:"rows"`
	Lines   uint64   `json:"lines"`
	Events  []Object `json:"-"` // the event objects, in the order of hours
	// Repeated are objects with events that others have too. One whose events are all in others was not copied.
	Repeated []Repeated `json:"repeated,omitempty"`
	Problems []Problem  `json:"problems,omitempty"` // objects that are missing or damaged; they were not copied
}

// Copy copies event objects and their statistics from one target to another, and reads each copy back: it must be the
// bytes that were read, and hold what its metadata says. Before that it is read once, so that nothing damaged is copied. Copying
// again is harmless.
func Copy(ctx context.Context, from, to uploader.Target, o CopyOptions) (*Copied, error) {
	c := copying{from: from, to: to, o: o, out: &Copied{}, done: covered{}}
	var objects []Object
	err := List(ctx, from, o.Range, func(obj Object) error {
		o.Expect.met(obj.Key)
		if (o.Service == "" || o.Service == obj.Service) && (o.Instance == "" || o.Instance == obj.Instance) {
			objects = append(objects, obj)
		}
		return nil
	})
	if err != nil {
		return c.out, err
	}
	c.out.Problems = o.Expect.missing(o.Service, o.Instance)
	c.shared = overlaps(objects, func(o *Object) *Object { return o })
	copied := map[string]*Object{}
	for i := range objects {
		obj := &objects[i]
		if o.Progress != nil {
			o.Progress(i, len(objects), obj.Key)
		}
		did, err := c.events(ctx, obj)
		if err := c.skip(obj.Key, err); err != nil {
			return c.out, err
		}
		if err == nil && did {
			copied[obj.Key] = obj
			c.out.Events = append(c.out.Events, *obj)
		}
	}
	err = from.List(ctx, uploader.StatsPrefix, func(info uploader.ObjectInfo) error {
		obj := copied[uploader.EventsKey(info.Key)]
		if obj == nil {
			return nil
		}
		return c.skip(info.Key, c.statistics(ctx, obj, info.Size))
	})
	return c.out, err
}

type copying struct {
	from, to uploader.Target
	o        CopyOptions
	out      *Copied
	shared   map[string]bool // keys of objects whose events others may have
	done     covered         // what those hold that were copied
}

// skip takes an error that is the fault of one object.
func (c *copying) skip(key string, err error) error {
	if !skippable(err) {
		return err
	}
	c.out.Problems = append(c.out.Problems, Problem{key, trim(key, err)})
	return nil
}

// events copies an event object, unless all that it holds has been copied.
func (c *copying) events(ctx context.Context, o *Object) (did bool, err error) {
	repeated := uint64(0)
	before := c.done[o.Epoch]
	found, err := scanEvents(ctx, c.from, o.Key, func(_ []byte, l *uploader.Line) error {
		if l.Kind != "drop" && catalogue.Contains(before, l.Seq) {
			repeated++
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	whole := c.done.whole(o.Epoch, found.Runs)
	if repeated > 0 || whole {
		c.out.Repeated = append(c.out.Repeated, Repeated{Key: o.Key, Responses: repeated, Of: found.Rows})
	}
	if whole {
		return false, nil
	}
	if err := c.object(ctx, o.Key, o.Size, found); err != nil {
		return false, err
	}
	if c.shared[o.Key] {
		c.done.add(o.Epoch, found.Runs)
	}
	c.out.Objects++
	c.out.Bytes += found.Bytes
	c.out.Rows += found.Rows - repeated
	c.out.Lines += found.Lines - repeated
	return true, nil
}

func (c *copying) statistics(ctx context.Context, o *Object, size int64) error {
	found, err := scanStatistics(ctx, c.from, o, func(stats.Key, *stats.Row) error { return nil })
	if err == nil {
		err = c.object(ctx, uploader.StatsKey(o.Key), size, found)
	}
	if err == nil {
		c.out.Bytes += found.Bytes
	}
	return err
}

// object copies an object that was read once, and reads the copy.
func (c *copying) object(ctx context.Context, key string, size int64, found *Contents) error {
	if err := found.asAnnounced(); err != nil {
		return err
	}
	body, meta, err := c.from.Get(ctx, key)
	if err != nil {
		return err
	}
	file, err := fetch(body, c.o.TempDir, size)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer func() { _ = file.Close() }()
	if err := c.to.Put(ctx, key, file, size, meta); err != nil {
		return err
	}
	copied, err := scan(ctx, c.to, key, func(*Contents, []byte) error { return nil })
	if err == nil && (copied.SHA256 != found.SHA256 || copied.RawSHA256 != found.RawSHA256) {
		err = fmt.Errorf("%s: %w: the copy is %s, hash %s was read before", key, errChanged, copied.SHA256, found.SHA256)
	}
	return err
}

// fetch reads an object of a known size into a file that is gone when it is closed.
func fetch(body io.Reader, dir string, size int64) (*os.File, error) {
	file, err := os.CreateTemp(dir, ".wayside-copy-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		var n int64
		if n, err = io.Copy(file, io.LimitReader(body, size+1)); err == nil && n != size {
			err = damagedf("it has not the %d bytes that the list of objects says", size)
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// mergeOpenMax bounds the objects of one epoch that overlap at one sequence number.
const mergeOpenMax = 256

// Merge calls fn with every line of the objects of one epoch in the order of sequence numbers, whichever object holds it, and once
// if several do. Only objects whose numbers overlap are open at the same time, at most 256. The line is valid during the call.
func Merge(ctx context.Context, t uploader.Target, objects []Object, fn func(o *Object, l *uploader.Line) error) error {
	m := merge{ctx: ctx, t: t, waiting: slices.Clone(objects)}
	defer m.close()
	slices.SortFunc(m.waiting, func(a, b Object) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for last := uint64(0); ; {
		for len(m.waiting) > 0 && (len(m.open) == 0 || m.waiting[0].First <= m.open[0].line.Seq) {
			if err := m.begin(&m.waiting[0]); err != nil {
				return err
			}
			m.waiting = m.waiting[1:]
		}
		if len(m.open) == 0 {
			return nil
		}
		if next := m.open[0].line; next.Seq != last {
			last = next.Seq
			if err := fn(m.open[0].object, next); err != nil {
				return err
			}
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

func (m *merge) Len() int { return len(m.open) }
func (m *merge) Less(i, j int) bool {
	a, b := m.open[i], m.open[j]
	return a.line.Seq < b.line.Seq || a.line.Seq == b.line.Seq && a.object.Key < b.object.Key
}
func (m *merge) Swap(i, j int) { m.open[i], m.open[j] = m.open[j], m.open[i] }
func (m *merge) Push(x any)    { m.open = append(m.open, x.(*stream)) } //nolint:forcetypeassert // heap.Push of this file
func (m *merge) Pop() any {
	last := m.open[len(m.open)-1]
	m.open = m.open[:len(m.open)-1]
	return last
}

func (m *merge) begin(o *Object) error {
	if len(m.open) == mergeOpenMax {
		return damagedf("more than %d objects of epoch %s hold the same sequence numbers", mergeOpenMax, o.Epoch)
	}
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
		_, err := scanEvents(ctx, t, key, func(_ []byte, l *uploader.Line) error {
			line := *l
			if !yield(&line, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}
