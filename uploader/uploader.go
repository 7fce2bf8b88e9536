package uploader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Source is where events are read from: the store.
type Source interface {
	// Pending returns blocks applied before the given time that no plan holds, those of one hour and epoch in the order of
	// their sequence numbers. It may return a part of them, the oldest hours first, and is asked again when those are planned.
	Pending(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error)
	// Events calls fn for each record of the plan's blocks, in order of sequence numbers. The event and the
	// row's name are valid during the call. It stops with fn's error.
	Events(ctx context.Context, p *catalogue.Plan, fn func(seq uint64, row *catalogue.RowName, e *event.Event) error) error
}

// Catalogue remembers plans durably: the store.
type Catalogue interface {
	// AddPlan assigns an ID and stores the plan; its blocks are no longer pending afterwards.
	AddPlan(ctx context.Context, p *catalogue.Plan) error
	// PlansIn calls fn for each plan in a state, oldest first.
	PlansIn(ctx context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error
	// MarkVerified stores what is known of the object and that it was read back and matched.
	MarkVerified(ctx context.Context, p *catalogue.Plan) error
	// DeleteBlocks removes the plan's blocks. It refuses plans that are not verified.
	DeleteBlocks(ctx context.Context, p *catalogue.Plan) error
	// Checkpoint makes sure that all that was applied stands in persisted statistics: only then may its events go.
	Checkpoint() error
	// MarkExpired stores that the object was removed from the archive. It refuses plans whose blocks are still there.
	MarkExpired(ctx context.Context, p *catalogue.Plan) error

	// Unreconciled reports whether events of an epoch may stand in objects that another store made, and whether those were
	// entered already.
	Unreconciled(epoch uuid.UUID) (unreconciled, imported bool)
	// ImportObject enters such an object; what it holds is no longer pending.
	ImportObject(ctx context.Context, p *catalogue.Plan) error
	// MarkImported stores that all objects of the epoch are entered.
	MarkImported(epoch uuid.UUID) error
}

// Memory remembers durably how scheduled jobs fared: the store.
type Memory interface {
	// Job returns the zero state for a job that nothing is remembered of.
	Job(name string) (catalogue.JobState, error)
	SetJob(name string, s catalogue.JobState) error
}

// forgetful is the Memory of an uploader that was given none.
type forgetful struct{}

func (forgetful) Job(string) (catalogue.JobState, error)  { return catalogue.JobState{}, nil }
func (forgetful) SetJob(string, catalogue.JobState) error { return nil }

// Options are the settings of an uploader. Source, Catalogue and Target are required.
type Options struct {
	Source    Source
	Catalogue Catalogue
	Target    Target
	// Targets find the entries of former targets. Default those that can be opened by what the catalogue knows of them.
	Targets *Targets

	Service  string // default "wayside"; stands in keys and lines
	Instance string // default "0"
	// Fields lists the optional fields to write; only FieldTraceID is known.
	Fields []string
	// Omit lists fields to leave out, of OmitFields. Both are part of each plan: a retry writes what was planned.
	Omit []string

	// After is how long ago a block must have been applied before it is archived. Default an hour; negative means at once.
	After time.Duration
	// ObjectBytes is the compressed size at which an object is cut, by estimate. Default 8 MiB, at least 64 KiB.
	ObjectBytes int64
	// RetentionEvents is how old events must be before they are deleted locally. Default 72 hours; negative means at once.
	RetentionEvents time.Duration

	// Expire is how long objects stay in the archive from when they were verified, in time during which wayside ran, whatever
	// the wall clock says; their statistics stay. 0 means for ever. It needs a target that can delete, which only a
	// directory can.
	Expire time.Duration

	// ArchiveSchedule and RetentionSchedule are cron expressions, in UTC or behind "TZ=ZONE ", or "@every DURATION". Defaults
	// "0 * * * *" and "0 3 * * *".
	ArchiveSchedule   string
	RetentionSchedule string
	Jobs              []Job  // further jobs that Run is to run
	Memory            Memory // of when jobs ran; nil forgets with the process

	// BackoffMin and BackoffMax bound the pause after a failed job; it doubles each time. Defaults a second and five minutes.
	BackoffMin, BackoffMax time.Duration
	// RequestTimeout bounds the silence in one request to the target, in which less than 4 KiB moves: not the whole of it, which a
	// slow link may draw out. Default five minutes. It grows, at most fourfold, after requests that fell silent.
	RequestTimeout time.Duration

	Now func() time.Time // default clock.Now
	// Elapsed is the time since some moment by a clock that never leaps, by which objects expire. Default the monotonic clock.
	Elapsed func() time.Duration
	Logger  *slog.Logger // default slog.Default()
}

// Uploader archives events and applies retention. Its methods are safe for concurrent use; jobs never overlap.
type Uploader struct {
	o                  Options
	archiveAt, cleanAt schedule
	jobsAt             []schedule // of Options.Jobs

	// job holds one token while no job runs. A channel, so that waiting for it can be given up.
	job chan struct{}

	// Owned by whoever holds the token.
	builder  *builder
	holdings *holdings // nil while nothing is in doubt
	estimate estimate
	warned   map[uint64]string // plans that retention keeps, and why; each is said once
	silent   map[string]bool   // former targets that did not answer in this archive job
	away     map[string]string // former targets that do not give what retention asks for, and why; each is said once
	watch    stopwatch
	answered time.Duration // by Options.Elapsed, when the archive last did what it was asked; 0: it failed, or was not asked yet

	probing  sync.Mutex   // held by whoever tries the archive
	patience atomic.Int32 // factor of RequestTimeout, see silence

	mu     sync.Mutex
	status Status                // guarded by mu
	jobs   map[string]*JobStatus // guarded by mu
}

// New checks the options and fills in defaults. It starts nothing.
func New(o Options) (*Uploader, error) {
	if o.Source == nil || o.Catalogue == nil || o.Target == nil {
		return nil, errors.New("uploader needs a source, a catalogue and a target")
	}
	setDefault(&o.Service, "wayside")
	setDefault(&o.Instance, "0")
	setDefault(&o.After, time.Hour)
	setDefault(&o.ObjectBytes, 8<<20)
	setDefault(&o.RetentionEvents, 72*time.Hour)
	setDefault(&o.ArchiveSchedule, "0 * * * *")
	setDefault(&o.RetentionSchedule, "0 3 * * *")
	setDefault(&o.BackoffMin, time.Second)
	setDefault(&o.BackoffMax, 5*time.Minute)
	setDefault(&o.RequestTimeout, 5*time.Minute)
	setDefault(&o.Logger, slog.Default())
	if o.Targets == nil {
		o.Targets = NewTargets(o.Target, TargetOptions{Logger: o.Logger})
	}
	if o.Memory == nil {
		o.Memory = forgetful{}
	}
	if o.Now == nil {
		o.Now = clock.Now
	}
	if o.Elapsed == nil {
		o.Elapsed = monotonic()
	}
	o.ObjectBytes = max(o.ObjectBytes, 64<<10)
	o.BackoffMax = max(o.BackoffMax, o.BackoffMin)
	o.After, o.RetentionEvents = max(o.After, 0), max(o.RetentionEvents, 0)
	var err error
	if o.Fields, err = planFields(o.Fields, o.Omit); err != nil {
		return nil, err
	}
	u := &Uploader{o: o, job: make(chan struct{}, 1), warned: map[uint64]string{}, away: map[string]string{}, jobs: map[string]*JobStatus{}}
	u.watch = stopwatch{elapsed: o.Elapsed, mark: o.Elapsed()}
	u.job <- struct{}{}
	if u.archiveAt, err = parseSchedule(o.ArchiveSchedule); err != nil {
		return nil, fmt.Errorf("archive schedule: %w", err)
	}
	if u.cleanAt, err = parseSchedule(o.RetentionSchedule); err != nil {
		return nil, fmt.Errorf("retention schedule: %w", err)
	}
	for _, j := range o.Jobs {
		at, err := parseSchedule(j.Schedule)
		if err != nil {
			return nil, fmt.Errorf("%s schedule: %w", j.Name, err)
		}
		u.jobsAt = append(u.jobsAt, at)
	}
	if _, ok := o.Target.(deleter); o.Expire > 0 && !ok {
		return nil, fmt.Errorf("objects cannot expire in %s: use a lifecycle rule of the bucket", o.Target)
	}
	return u, nil
}

// planFields is what stands in a plan for the fields to write and those to leave out, sorted.
func planFields(fields, omit []string) ([]string, error) {
	out := slices.Clone(fields)
	for _, f := range fields {
		if f != FieldTraceID {
			return nil, fmt.Errorf("archive field %q is not an optional field: known is %s", f, FieldTraceID)
		}
	}
	for _, f := range omit {
		if !slices.Contains(OmitFields, f) {
			return nil, fmt.Errorf("archive field %q cannot be left out: only %v can", f, OmitFields)
		}
		out = append(out, omitted+f)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// ValidateSchedule reports whether text is a cron expression or "@every DURATION" that the options accept.
func ValidateSchedule(text string) error {
	_, err := parseSchedule(text)
	return err
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
