package uploader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/clock"
	"github.com/wayside-proxy/wayside/internal/event"
)

// Source provides the events. The store implements it.
type Source interface {
	// Pending returns blocks that were applied before the given time and belong to no plan. Blocks of one hour and epoch are in the order
	// of their sequence numbers. The list begins with the oldest hours and may be incomplete; in that case, plan these blocks and call
	// Pending again.
	Pending(ctx context.Context, appliedBefore time.Time) ([]catalogue.Pending, error)
	// Events calls fn for each record of the plan's blocks, in the order of sequence numbers, and stops if fn returns
	// an error. The event and the row's name are only valid during the call.
	Events(ctx context.Context, p *catalogue.Plan, fn func(seq uint64, row *catalogue.RowName, e *event.Event) error) error
}

// Catalogue stores plans durably. The store implements it.
type Catalogue interface {
	// AddPlan assigns an ID and stores the plan. Its blocks are no longer pending afterwards.
	AddPlan(ctx context.Context, p *catalogue.Plan) error
	// PlansIn calls fn for each plan in a state, oldest first.
	PlansIn(ctx context.Context, state catalogue.State, fn func(*catalogue.Plan) error) error
	// MarkVerified records that the object has been read back and found correct, together with its sizes and hashes.
	MarkVerified(ctx context.Context, p *catalogue.Plan) error
	// DeleteBlocks removes the plan's blocks. It fails if the plan has not been verified.
	DeleteBlocks(ctx context.Context, p *catalogue.Plan) error
	// Checkpoint writes the statistics of all applied events. Events may be deleted only after that.
	Checkpoint() error
	// MarkExpired records that the object has been removed from the archive. It fails if the plan still has blocks.
	MarkExpired(ctx context.Context, p *catalogue.Plan) error

	// Unreconciled reports whether another store may have archived events of an epoch, and whether the objects of that
	// epoch have been imported.
	Unreconciled(epoch uuid.UUID) (unreconciled, imported bool)
	// ImportObject enters an object of another store in the catalogue. Its events are no longer pending afterwards.
	ImportObject(ctx context.Context, p *catalogue.Plan) error
	// MarkImported records that all objects of the epoch have been imported.
	MarkImported(epoch uuid.UUID) error
}

// Memory stores the results of scheduled jobs durably. The store implements it.
type Memory interface {
	// Job returns the zero state for an unknown job.
	Job(name string) (catalogue.JobState, error)
	SetJob(name string, s catalogue.JobState) error
}

// noopMemory is used if [Options.Memory] is nil.
type noopMemory struct{}

func (noopMemory) Job(string) (catalogue.JobState, error)  { return catalogue.JobState{}, nil }
func (noopMemory) SetJob(string, catalogue.JobState) error { return nil }

// Options are the settings of an uploader. Source, Catalogue and Target are required.
type Options struct {
	Source    Source
	Catalogue Catalogue
	Target    Target
	// Targets opens the former targets of catalogue entries. The default Targets has no credentials of its own.
	Targets *Targets

	Service  string // default "wayside"; part of keys and lines
	Instance string // default "0"
	// Fields lists the optional fields to write. The only possible one is FieldTraceID.
	Fields []string
	// Omit lists the fields, from OmitFields, that are not written. Fields and Omit are stored in each plan, and a retry uses the stored
	// values.
	Omit []string

	// After is the time between applying a block and archiving it. The default is one hour; negative means immediately.
	After time.Duration
	// ObjectBytes is the estimated compressed size at which a new object is started. The default is 8 MiB, the minimum
	// 64 KiB.
	ObjectBytes int64
	// RetentionEvents is the age at which archived events are deleted locally. The default is 72 hours; negative means
	// immediately.
	RetentionEvents time.Duration

	// Expire is the time that event objects stay in the archive after their verification; their statistics stay forever. Only the time
	// during which wayside was running counts, not the wall clock. 0 means forever. A value other than 0 requires a target that can
	// delete objects, that is, a directory.
	Expire time.Duration

	// ArchiveSchedule and RetentionSchedule are cron expressions, in UTC or in the zone of a preceding "TZ=ZONE ", or "@every DURATION".
	// Defaults "0 * * * *" and "0 3 * * *".
	ArchiveSchedule   string
	RetentionSchedule string
	Jobs              []Job  // additional jobs for Run
	Memory            Memory // stores the results of jobs; if nil, they are lost when the process ends

	// BackoffMin and BackoffMax limit the pause after a failed job. The pause doubles after each further failure.
	// The defaults are one second and five minutes.
	BackoffMin, BackoffMax time.Duration
	// RequestTimeout is the maximum time that a request to the target may continue without progress, that is, with less than 4 KiB
	// transferred. It does not limit the total duration of a request, which can be long on a slow link. The default is five minutes.
	// After requests that stalled, the timeout grows, up to four times this value.
	RequestTimeout time.Duration

	Now func() time.Time // default clock.Now
	// Elapsed is a clock that never jumps, for the expiry of objects. Only the difference between two readings is meaningful.
	// The default is the monotonic clock.
	Elapsed func() time.Duration
	Logger  *slog.Logger // default slog.Default()
}

// Uploader archives events and applies the retention. Its methods are safe for concurrent use. Jobs never overlap.
type Uploader struct {
	*common
	archiver  *archiver
	retention *retention
	prober    *prober

	archiveAt, cleanAt schedule
	jobsAt             []schedule // schedules of Options.Jobs

	// token contains one element while no job is running. It is a channel because waiting for a channel can be
	// canceled.
	token    chan struct{}
	answered time.Duration // Options.Elapsed when the archive last worked; 0 if it has failed since or is untested; guarded by token
}

// common holds the fields that the parts of an uploader share.
type common struct {
	o        Options
	status   *statusBoard
	requests *requests
	uptime   *uptime // owned by the token's holder
}

// New checks the options and fills in defaults. It starts no goroutines.
func New(o Options) (*Uploader, error) {
	if o.Source == nil || o.Catalogue == nil || o.Target == nil {
		return nil, errors.New("uploader needs a source, a catalogue and a target")
	}
	if _, ok := o.Target.(deleter); o.Expire > 0 && !ok {
		return nil, fmt.Errorf("objects cannot expire in %s: use a lifecycle rule of the bucket", o.Target)
	}
	o.setDefaults()
	var err error
	if o.Fields, err = planFields(o.Fields, o.Omit); err != nil {
		return nil, err
	}
	c := &common{
		o: o, status: newStatusBoard(o.Target.String()), requests: &requests{timeout: o.RequestTimeout},
		uptime: &uptime{memory: o.Memory, elapsed: o.Elapsed, mark: o.Elapsed(), logger: o.Logger},
	}
	u := &Uploader{
		common: c, archiver: &archiver{common: c}, prober: &prober{common: c}, token: make(chan struct{}, 1),
		retention: &retention{common: c, warned: map[uint64]string{}, away: map[string]string{}},
	}
	u.token <- struct{}{}
	if err := u.parseSchedules(); err != nil {
		return nil, err
	}
	return u, nil
}

func (o *Options) setDefaults() {
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
		o.Memory = noopMemory{}
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
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (u *Uploader) parseSchedules() (err error) {
	if u.archiveAt, err = parseSchedule(u.o.ArchiveSchedule); err != nil {
		return fmt.Errorf("archive schedule: %w", err)
	}
	if u.cleanAt, err = parseSchedule(u.o.RetentionSchedule); err != nil {
		return fmt.Errorf("retention schedule: %w", err)
	}
	u.jobsAt = make([]schedule, len(u.o.Jobs))
	for i := range u.o.Jobs {
		if u.jobsAt[i], err = parseSchedule(u.o.Jobs[i].Schedule); err != nil {
			return fmt.Errorf("%s schedule: %w", u.o.Jobs[i].Name, err)
		}
	}
	u.archiver.dense = u.archiveAt.dense()
	return nil
}

// planFields returns the sorted list of fields in the form that plans store, in which omitted fields have a prefix.
func planFields(fields, omit []string) ([]string, error) {
	out := slices.Clone(fields)
	for _, f := range fields {
		if f != FieldTraceID {
			return nil, fmt.Errorf("archive field %q is not an optional field: the only one is %s", f, FieldTraceID)
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

// plansWhere returns copies of the plans that are in a state and satisfy a condition, oldest first. A nil condition is always satisfied.
func (c *common) plansWhere(ctx context.Context, state catalogue.State, condition func(*catalogue.Plan) bool) ([]*catalogue.Plan, error) {
	var plans []*catalogue.Plan
	err := c.o.Catalogue.PlansIn(ctx, state, func(p *catalogue.Plan) error {
		if condition == nil || condition(p) {
			c := *p
			plans = append(plans, &c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the archive catalogue: %w", err)
	}
	return plans, nil
}
