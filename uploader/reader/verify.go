package reader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/uploader"
)

// VerifyOptions determine what is compared.
type VerifyOptions struct {
	Range
	// Plans are the plans of the catalogue. Without them, objects are only compared with their own names and metadata.
	Plans []catalogue.Plan
	// Targets finds the former archives of catalogue entries. nil means that all objects are in the archive being
	// verified.
	Targets *uploader.Targets
	// Quick compares existence, size and metadata, and reads no object.
	Quick bool
	// Progress, if not nil, is called before each object.
	Progress func(done, total int, key string)
}

// Report is the result of [Verify].
type Report struct {
	Objects  int       `json:"objects"` // number of objects in the archive, within the range
	Known    int       `json:"known"`   // number of these that are in the catalogue
	Foreign  int       `json:"foreign"` // number of these that other data directories wrote
	Former   int       `json:"former"`  // objects of the catalogue in former archives; not among Objects
	Bytes    uint64    `json:"bytes"`   // compressed size
	Rows     uint64    `json:"rows"`
	Lines    uint64    `json:"lines"` // number of lines in the objects that were read
	Epochs   int       `json:"epochs"`
	Open     int       `json:"open"`            // number of plans that have not been verified yet, which is not a fault
	Quick    bool      `json:"quick,omitempty"` // no object was read, so Lines is 0
	Problems []Problem `json:"problems"`
}

// Verify compares the objects of an archive with the catalogue and with their own metadata, and checks that no sequence number is in two
// objects. An error means that the check could not be finished. Faults are in the report.
func Verify(ctx context.Context, t uploader.Target, o VerifyOptions) (*Report, error) {
	v := &verifier{VerifyOptions: o, t: t, report: &Report{Quick: o.Quick, Problems: []Problem{}}, plans: map[string]*catalogue.Plan{}, runs: map[uuid.UUID][]keyedRun{}, own: map[uuid.UUID]bool{}}
	v.index()
	var objects []uploader.Object
	if err := List(ctx, t, o.Range, func(o uploader.Object) error { objects = append(objects, o); return nil }); err != nil {
		return v.report, err
	}
	for i := range objects {
		if o.Progress != nil {
			o.Progress(i, len(objects), objects[i].Key)
		}
		if err := v.object(ctx, &objects[i]); err != nil {
			return v.report, err
		}
	}
	if err := v.missing(ctx); err != nil {
		return v.report, err
	}
	v.union()
	return v.report, nil
}

type keyedRun struct {
	catalogue.Run
	key string
}

type verifier struct {
	VerifyOptions
	t      uploader.Target
	report *Report
	plans  map[string]*catalogue.Plan // plans within the range, by key; those found in the archive are removed
	own    map[uuid.UUID]bool         // epochs that are in the catalogue
	runs   map[uuid.UUID][]keyedRun
}

func (v *verifier) index() {
	for i := range v.Plans {
		p := &v.Plans[i]
		v.own[p.Epoch] = true
		if v.Touches(stats.HourStart(p.Hour)) {
			v.plans[p.Key] = p
		}
	}
}

func (v *verifier) problem(key, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, Problem{key, fmt.Sprintf(format, args...)})
}

// object checks one object of the archive.
func (v *verifier) object(ctx context.Context, o *uploader.Object) error {
	r := v.report
	r.Objects++
	r.Bytes += uint64(max(o.Size, 0))
	p := v.plans[o.Key]
	delete(v.plans, o.Key)
	switch {
	case p != nil:
		r.Known++
	case v.own[o.Epoch]:
		v.problem(o.Key, "is in the bucket, but in no plan of the catalogue, although the catalogue knows its epoch")
	default:
		r.Foreign++
	}
	var c *uploader.Contents
	var err error
	if v.Quick {
		c, err = v.glance(ctx, o)
	} else {
		c, err = scan(ctx, v.t, o.Key)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, uploader.ErrNotFound):
		v.problem(o.Key, "disappeared while it was being checked")
		return nil
	case err != nil && c == nil && !skippable(err):
		return err // the error concerns the target, not the object
	case err != nil:
		v.problem(o.Key, "%s", trim(o.Key, err))
		return nil
	}
	r.Lines += c.Lines
	v.againstItself(o, c)
	if p != nil && p.State != catalogue.Planned {
		v.againstPlan(o, c, p)
	}
	for _, run := range c.Runs {
		v.runs[o.Epoch] = append(v.runs[o.Epoch], keyedRun{run, o.Key})
	}
	return nil
}

// glance describes an object based only on its metadata.
func (v *verifier) glance(ctx context.Context, o *uploader.Object) (*uploader.Contents, error) {
	info, err := v.t.Stat(ctx, o.Key)
	if err != nil {
		return nil, err
	}
	if err := uploader.CheckFormat(o.Key, info.Meta); err != nil {
		return &uploader.Contents{}, err
	}
	c := &uploader.Contents{Bytes: uint64(max(info.Size, 0)), Meta: info.Meta, RawSHA256: info.Meta[uploader.MetaRawSHA256]}
	if c.Rows, err = strconv.ParseUint(info.Meta[uploader.MetaRows], 10, 64); err != nil {
		return c, uploader.Damagedf("%s is %.40q in its metadata", uploader.MetaRows, info.Meta[uploader.MetaRows])
	}
	if c.Runs, err = uploader.ParseRuns(info.Meta[uploader.MetaRuns]); err != nil {
		return c, err
	}
	if c.Runs == nil { // there was no room for the list, but the bounds in the name are enough to find overlaps
		c.Runs = []catalogue.Run{{First: o.First, Last: o.Last}}
	}
	return c, nil
}

// againstItself compares an object with its own name and metadata.
func (v *verifier) againstItself(o *uploader.Object, c *uploader.Contents) {
	v.report.Rows += c.Rows
	if n := len(c.Runs); n == 0 || c.Runs[0].First != o.First || c.Runs[n-1].Last != o.Last {
		v.problem(o.Key, "its sequence numbers are %s", runsText(c.Runs))
	}
	if v.Quick {
		return
	}
	for name, got := range map[string]string{
		uploader.MetaRows: strconv.FormatUint(c.Rows, 10), uploader.MetaLines: strconv.FormatUint(c.Lines, 10),
		uploader.MetaRawBytes: strconv.FormatUint(c.RawBytes, 10), uploader.MetaRawSHA256: c.RawSHA256,
		uploader.MetaRunCount: strconv.Itoa(len(c.Runs)),
	} {
		if said := c.Meta[name]; said != got {
			v.problem(o.Key, "%s is %s in its metadata but %s in its content", name, cmp.Or(said, "missing"), got)
		}
	}
}

// againstPlan compares an object with the catalogue.
func (v *verifier) againstPlan(o *uploader.Object, c *uploader.Contents, p *catalogue.Plan) {
	if c.Bytes != p.ObjectBytes || c.RawSHA256 != p.RawSHA256 || c.Rows != p.Rows {
		v.problem(o.Key, "holds %d rows in %d bytes, content hash %s; according to the catalogue, %d in %d with %s were verified",
			c.Rows, c.Bytes, c.RawSHA256, p.Rows, p.ObjectBytes, p.RawSHA256)
		return
	}
	if v.Quick {
		return
	}
	if differs(c.SHA256, p.ObjectSHA256) || c.Lines != p.Lines || p.Runs != nil && !slices.Equal(c.Runs, p.Runs) {
		v.problem(o.Key, "its bytes differ from those of the verified object: hash %s, lines %d, sequence numbers %s; when verified: %s, %d, %s",
			c.SHA256, c.Lines, runsText(c.Runs), p.ObjectSHA256, p.Lines, runsText(p.Runs))
	}
}

// differs reports whether a hash differs from the known one. In a rebuilt catalogue, some hashes are unknown.
func differs(hash, known string) bool { return known != "" && hash != known }

// missing reports the plans whose object was not found.
func (v *verifier) missing(ctx context.Context) error {
	for _, p := range sortedPlans(v.plans) {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case p.State == catalogue.Planned:
			v.report.Open++
		case !p.ExpiredAt.IsZero(): // the object was removed deliberately
		case v.Targets != nil && !v.Targets.IsCurrent(p.Target):
			v.former(ctx, p)
		default:
			v.report.Problems = append(v.report.Problems, missing(p))
		}
	}
	return nil
}

// former checks an object of a former archive.
func (v *verifier) former(ctx context.Context, p *catalogue.Plan) {
	v.report.Former++
	t, err := v.Targets.Of(ctx, p)
	var c *uploader.Contents
	if err == nil {
		at := &verifier{VerifyOptions: v.VerifyOptions, t: t}
		o := &uploader.Object{Key: p.Key}
		if v.Quick {
			c, err = at.glance(ctx, o)
		} else {
			c, err = scan(ctx, t, p.Key)
		}
		if err == nil {
			v.againstPlan(o, c, p)
			return
		}
	}
	v.problem(p.Key, "was verified on %s in %s (%d rows, state %s): %v", p.VerifiedAt.UTC().Format("2006-01-02 15:04"), p.Target, p.Rows, p.State, err)
}

func sortedPlans(m map[string]*catalogue.Plan) []*catalogue.Plan {
	var plans []*catalogue.Plan
	for _, p := range m {
		plans = append(plans, p)
	}
	slices.SortFunc(plans, func(a, b *catalogue.Plan) int { return cmp.Compare(a.Key, b.Key) })
	return plans
}

// union reports sequence numbers that are in more than one object.
func (v *verifier) union() {
	v.report.Epochs = len(v.runs)
	reported := map[[2]string]bool{}
	for epoch, runs := range v.runs {
		slices.SortFunc(runs, func(a, b keyedRun) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.key, b.key)) })
		for i := 1; i < len(runs); i++ {
			pair := [2]string{runs[i-1].key, runs[i].key}
			if before := runs[i-1]; runs[i].First <= before.Last && runs[i].key != before.key && !reported[pair] {
				reported[pair] = true
				v.problem(runs[i].key, "sequence numbers from %d of epoch %s are also in %s", runs[i].First, epoch, before.key)
			}
			if runs[i].Last < runs[i-1].Last {
				runs[i] = runs[i-1] // continue with the run that extends further
			}
		}
	}
}

func runsText(runs []catalogue.Run) string {
	if len(runs) == 0 {
		return "none"
	}
	if len(runs) > 4 {
		return fmt.Sprintf("%d-%d in %d runs", runs[0].First, runs[len(runs)-1].Last, len(runs))
	}
	text := ""
	for i, r := range runs {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf("%d-%d", r.First, r.Last)
	}
	return text
}
