package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/event"
	"github.com/wayside-proxy/wayside/internal/stats"
	"github.com/wayside-proxy/wayside/test/filetest"
)

const secret = "s3cr3tT0k3nZq7canary"

// secretive applies batches over several days, so that the store has sums over days. Some paths and labels contain the
// secret.
func secretive(t *testing.T, s *Store, now time.Time) (paths, labels uint64) {
	t.Helper()
	epoch := uuid.New()
	seq := uint64(0)
	for day := range 40 {
		b := &Batch{Epoch: epoch}
		for i := range 60 {
			seq++
			at := now.Add(-time.Duration(40-day)*24*time.Hour + time.Duration(i)*time.Minute).UnixMicro()
			it := Item{Seq: seq, Host: "shop", Method: "GET", Label: "/users/{id}", Event: event.Event{
				TimeMicros: at, Kind: event.KindRequest, Status: 200, DurationMicros: uint64(i), Method: []byte("GET"), Host: []byte("shop"),
				Path: fmt.Appendf(nil, "/users/%d", i),
			}}
			switch i % 6 {
			case 0:
				it.Label, it.Event.Path = "/reset/"+secret, []byte("/reset/"+secret)
				labels++
			case 1:
				it.Label, it.Event.Path = "/reset/{id}", []byte("/reset/"+secret)
				paths++
			case 2:
				it.Label = otherLabel
			}
			b.Items = append(b.Items, it)
		}
		b.LastSeq = seq
		b.PathState = []StateChange{{Key: []byte("r0001"), Value: []byte(secret)}}
		apply(t, s, b)
		checkpoint(t, s)
	}
	return paths, labels
}

func forgetSecret() *Forget {
	return &Forget{
		Row:       func(_, _, label string) bool { return strings.Contains(label, secret) },
		Event:     func(_, _ string, path []byte) bool { return bytes.Contains(path, []byte(secret)) },
		Path:      "(forgotten)",
		PathState: []StateChange{{Key: []byte("r0001")}},
	}
}

// TestForget: a forgotten path is in no row, event, sum or file, neither before nor after a restart, and every count
// stays the same.
func TestForget(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	o := testOptions(dir)
	now := time.Now()
	s := openStore(t, o)
	paths, labels := secretive(t, s, now)
	for more := true; more; {
		var err error
		if more, err = s.Rollup(ctx, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	before, sumBefore, err := s.Account(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(filetest.With(t, dir, secret)) == 0 {
		t.Fatal("no file holds the secret, so finding none afterwards would prove nothing")
	}
	f := forgetSecret()
	f.Count = true
	if done, err := s.Forget(ctx, f); err != nil || done.Events != paths+labels || done.Responses != labels {
		t.Fatalf("counted %+v (%v), want %d events and %d responses", done, err, paths+labels, labels)
	}
	f.Count = false
	done, err := s.Forget(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if done.Names != 1 || done.Responses != labels || done.Events != paths+labels {
		t.Errorf("forgot %+v, want one name, %d responses, %d events", done, labels, paths+labels)
	}
	if err := s.Expunge(ctx); err != nil {
		t.Fatal(err)
	}
	after, sumAfter, err := s.Account(ctx)
	if err != nil || before != after || sumBefore != sumAfter {
		t.Errorf("the accounting changed from %+v, %d to %+v, %d (%v)", before, sumBefore, after, sumAfter, err)
	}
	if found := filetest.With(t, dir, secret); len(found) > 0 {
		t.Errorf("the secret is still in %v", found)
	}
	if again, err := s.Forget(ctx, forgetSecret()); err != nil || again.Names != 0 || again.Events != 0 {
		t.Errorf("a second time there was still %+v (%v)", again, err)
	}
	checkPromises(t, s)
	sums := rowsByLabel(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	if found := filetest.With(t, dir, secret); len(found) > 0 {
		t.Errorf("after a restart the secret is in %v", found)
	}
	if got := rowsByLabel(t, s); fmt.Sprint(got) != fmt.Sprint(sums) || got["/reset/"+secret] != 0 || got[otherLabel] != labels+paths {
		t.Errorf("rows after a restart: %v, before %v", got, sums)
	}
}

// rowsByLabel sums the counts through the same sums that queries use.
func rowsByLabel(t *testing.T, s *Store) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	last := stats.HourOfMicros(time.Now().UnixMicro())
	err := s.Sums(context.Background(), last-50*dayHours, last+1, func(k stats.Key, r *stats.Row) error {
		out[clone(k.Label)] += r.Count
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestForgetReopensPlans: an object whose events are still in the store is planned again. Until it is rewritten, its
// rows do not count as archived.
func TestForgetReopensPlans(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, testOptions(t.TempDir()))
	secretive(t, s, time.Now())
	plan := pendingPlan(t, s, "v1/a")
	if err := s.AddPlan(ctx, plan); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkVerified(ctx, plan); err != nil {
		t.Fatal(err)
	}
	f := forgetSecret()
	f.Reopen = true
	done, err := s.Forget(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Objects) != 1 || done.Objects[0].Key != "v1/a" || done.Objects[0].Holds != "reopened" {
		t.Fatalf("objects %+v", done.Objects)
	}
	open := 0
	if err := s.PlansIn(ctx, catalogue.Planned, func(p *catalogue.Plan) error {
		open++
		return s.Events(ctx, p, func(_ uint64, row *catalogue.RowName, e *event.Event) error {
			if strings.Contains(row.Label+string(e.Path), secret) {
				t.Errorf("the plan still has %s %s", row.Label, e.Path)
			}
			return nil
		})
	}); err != nil || open != 1 {
		t.Errorf("%d open plans (%v)", open, err)
	}
	if totals, _ := s.Totals(); totals.Archived != 0 {
		t.Errorf("%d count as archived", totals.Archived)
	}
	checkPromises(t, s)
}
