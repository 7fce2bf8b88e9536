package uploader

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// breaking is a target whose connections break after some bytes of an object.
type breaking struct{ Target }

func (t breaking) Get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	body, meta, err := t.Target.Get(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, 20), broken{}), body}, meta, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, context.Canceled }

// TestCheckOverABrokenConnection: a connection that breaks proves nothing about the object, so it is reported as not checked, never as a
// problem of the archive.
func TestCheckOverABrokenConnection(t *testing.T) {
	m := newMemStore(t)
	m.apply(testEpoch, testHour, 500, plainEvents(100, testHour, 1)...)
	target := directory(t).Target
	u, _ := newTest(t, m, target, nil)
	if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	plans := slices.DeleteFunc(plansOf(t, m), func(p *catalogue.Plan) bool { return p.State == catalogue.Planned })
	for _, c := range []struct {
		target                    Target
		checked, notMade, problem int
	}{
		{target, 2, 0, 0},
		{breaking{target}, 0, 2, 0},
	} {
		check, err := CheckCatalogue(t.Context(), plans, NewTargets(c.target, TargetOptions{}))
		if err != nil || int(check.Checked) != c.checked || int(check.NotMade) != c.notMade || len(check.Problems) != c.problem {
			t.Errorf("%+v, %v; want %+v", check, err, c)
		}
	}
}
