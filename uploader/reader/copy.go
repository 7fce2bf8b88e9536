package reader

import (
	"cmp"
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

// CopyOptions select what is copied.
type CopyOptions struct {
	Range             // extended to whole hours, because objects are copied only as a whole
	Service, Instance string
	Expect            Expected // Copy removes the entries whose objects it finds
	TempDir           string   // for one object at a time; empty means the system's directory
	Progress          func(done, total int, key string)
}

// Copied describes the result of [Copy].
type Copied struct {
	Objects int               `json:"objects"` // event objects
	Bytes   uint64            `json:"bytes"`   // total size of all objects
	Rows    uint64            `json:"rows"`
	Lines   uint64            `json:"lines"`
	Events  []uploader.Object `json:"-"` // the event objects, in the order of hours
	// Repeated lists the objects that share events with others. An object whose events are all in other objects was not copied.
	Repeated []Repeated `json:"repeated,omitempty"`
	Problems []Problem  `json:"problems,omitempty"` // objects that are missing or damaged; they were not copied
}

// Copy copies event objects and their statistics from one target to another. It reads each object completely before copying it, so no
// damaged object is copied. Then it reads the copy back and checks that the bytes are the same. Copying an object again is harmless.
func Copy(ctx context.Context, from, to uploader.Target, o CopyOptions) (*Copied, error) {
	c := copying{from: from, to: to, o: o, out: &Copied{}, done: covered{}}
	var objects []uploader.Object
	err := List(ctx, from, o.Range, func(obj uploader.Object) error {
		o.Expect.found(obj.Key)
		if isOf(o.Service, o.Instance, obj.Service, obj.Instance) {
			objects = append(objects, obj)
		}
		return nil
	})
	if err != nil {
		return c.out, err
	}
	c.out.Problems = o.Expect.missing(o.Service, o.Instance)
	c.shared = overlaps(objects, func(o *uploader.Object) *uploader.Object { return o })
	copied := map[string]*uploader.Object{}
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
	err = listStatistics(ctx, from, o.Range, func(s uploader.Object) error {
		obj := copied[s.Key]
		if obj == nil {
			return nil
		}
		return c.skip(uploader.StatsKey(s.Key), c.statistics(ctx, obj, s.Size))
	})
	return c.out, err
}

type copying struct {
	from, to uploader.Target
	o        CopyOptions
	out      *Copied
	shared   map[string]bool // keys of objects that may share events with others
	done     covered         // events of these objects that have been copied
}

// skip records an error that concerns a single object, and returns any other error.
func (c *copying) skip(key string, err error) error {
	if !skippable(err) {
		return err
	}
	c.out.Problems = append(c.out.Problems, Problem{key, trim(key, err)})
	return nil
}

// events copies an event object, unless all of its events have already been copied.
func (c *copying) events(ctx context.Context, o *uploader.Object) (did bool, err error) {
	repeated := uint64(0)
	before := c.done[o.Epoch]
	found, err := uploader.ScanEvents(ctx, c.from, o.Key, func(_ []byte, l *uploader.Line) error {
		if !l.IsDrop() && catalogue.Contains(before, l.Seq) {
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

func (c *copying) statistics(ctx context.Context, o *uploader.Object, size int64) error {
	found, err := uploader.ScanStatistics(ctx, c.from, o, func(stats.Key, *stats.Row) error { return nil })
	if err == nil {
		err = c.object(ctx, uploader.StatsKey(o.Key), size, found)
	}
	if err == nil {
		c.out.Bytes += found.Bytes
	}
	return err
}

// object copies an object that has already been read and checked, and reads the copy back.
func (c *copying) object(ctx context.Context, key string, size int64, found *uploader.Contents) error {
	if err := found.MatchesMeta(); err != nil {
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
	copied, err := uploader.ReadLines(ctx, c.to, key, func([]byte) error { return nil })
	if err == nil && (copied.SHA256 != found.SHA256 || copied.RawSHA256 != found.RawSHA256) {
		err = fmt.Errorf("%s: %w: the copy has hash %s, but %s was read before", key, errChanged, copied.SHA256, found.SHA256)
	}
	return err
}

// fetch reads an object of known size into a file without a name, which disappears when it is closed.
func fetch(body io.Reader, dir string, size int64) (*os.File, error) {
	file, err := os.CreateTemp(dir, ".wayside-copy-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		var n int64
		if n, err = io.Copy(file, io.LimitReader(body, size+1)); err == nil && n != size {
			err = uploader.Damagedf("it does not have the size of %d bytes that the list of objects gives", size)
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// mergeOpenMax is the maximum number of objects of one epoch that may contain the same sequence number.
const mergeOpenMax = 256

// Merge calls fn for every line of the objects of one epoch, in the order of sequence numbers, and only once for a line that several
// objects have. At most 256 objects are open at the same time, and only if their numbers overlap. The line is only valid during the call.
func Merge(ctx context.Context, t uploader.Target, objects []uploader.Object, fn func(o *uploader.Object, l *uploader.Line) error) error {
	waiting := slices.SortedFunc(slices.Values(objects), func(a, b uploader.Object) int { return cmp.Compare(a.First, b.First) })
	var open []*stream
	defer func() {
		for _, s := range open {
			s.stop()
		}
	}()
	for last := uint64(0); ; {
		at := lowest(open)
		for len(waiting) > 0 && (len(open) == 0 || waiting[0].First <= open[at].line.Seq) {
			if len(open) == mergeOpenMax {
				return uploader.Damagedf("more than %d objects of epoch %s have the same sequence numbers", mergeOpenMax, waiting[0].Epoch)
			}
			s := &stream{object: &waiting[0]}
			s.next, s.stop = iter.Pull2(lines(ctx, t, waiting[0].Key))
			waiting, open = waiting[1:], append(open, s)
			if err := s.step(); err != nil {
				return err
			}
			if s.line == nil {
				open = open[:len(open)-1]
			}
			at = lowest(open)
		}
		if len(open) == 0 {
			return nil
		}
		s := open[at]
		if s.line.Seq != last {
			last = s.line.Seq
			if err := fn(s.object, s.line); err != nil {
				return err
			}
		}
		if err := s.step(); err != nil {
			return err
		}
		if s.line == nil {
			open = slices.Delete(open, at, at+1)
		}
	}
}

// stream is an object that is being read.
type stream struct {
	object *uploader.Object
	line   *uploader.Line // nil at the end
	next   func() (*uploader.Line, error, bool)
	stop   func()
}

// step reads the next line.
func (s *stream) step() (err error) {
	s.line, err, _ = s.next()
	return err
}

// lowest returns the index of the stream with the lowest sequence number. If several streams have this number, it returns the one with
// the first key.
func lowest(open []*stream) int {
	at := 0
	for i, s := range open {
		l := open[at].line
		if s.line.Seq < l.Seq || s.line.Seq == l.Seq && s.object.Key < open[at].object.Key {
			at = i
		}
	}
	return at
}

// lines iterates over the lines of an object. The last element may be an error.
func lines(ctx context.Context, t uploader.Target, key string) iter.Seq2[*uploader.Line, error] {
	return func(yield func(*uploader.Line, error) bool) {
		_, err := uploader.ScanEvents(ctx, t, key, func(_ []byte, l *uploader.Line) error {
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
