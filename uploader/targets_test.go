package uploader

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/test/testlog"
)

// relocated changes the archive, so that one object is in the former target and one in the current one.
func relocated(t *testing.T, former, current Target, change func(*Options)) (*memStore, *Uploader, *testClock) {
	t.Helper()
	m := newMemStore(t)
	for i, target := range []Target{former, current} {
		m.apply(testEpoch, testHour, 500, plainEvents(100, testHour, uint64(100*i+1))...)
		u, clk := newTest(t, m, target, change)
		if r, err := u.ArchiveOnce(t.Context(), true); err != nil || r.Rows != 100 {
			t.Fatalf("%+v, %v", r, err)
		}
		if i == 1 {
			clk.advance(80 * time.Hour)
			return m, u, clk
		}
	}
	panic("not reached")
}

func plansOf(t *testing.T, m *memStore) []*catalogue.Plan {
	t.Helper()
	var plans []*catalogue.Plan
	for i := range m.planCount() {
		p := m.plan(i)
		plans = append(plans, &p)
	}
	return plans
}

// withKeys opens former targets with the server's keys, as after a restart.
func withKeys(t *testing.T, current Target) func(*Options) {
	t.Helper()
	s := s3Server(t)
	return func(o *Options) {
		o.Targets = NewTargets(current, TargetOptions{AccessKey: s.AccessKey, SecretKey: s.SecretKey, Transport: closing(t)})
	}
}

// TestRetentionAsksWhereAnObjectIs: after the bucket was changed, older entries are looked up and verified where they
// are, including those that an older version entered under the target's short name.
func TestRetentionAsksWhereAnObjectIs(t *testing.T) {
	for _, old := range []bool{false, true} {
		former, current := bucket(t), directory(t)
		if old {
			current = fakeBucket(t)
		}
		m, u, _ := relocated(t, former.Target, current.Target, withKeys(t, current.Target))
		if old {
			m.plans[0].Target = strings.Replace(former.String(), "pre fix", "pre%20fix", 1)
			m.plans[1].Target = current.String()
		}
		check, err := CheckCatalogue(t.Context(), plansOf(t, m), u.o.Targets)
		if err != nil || check.Checked != 4 || len(check.Problems) != 0 || check.Skipped != "" {
			t.Errorf("%+v, %v", check, err)
		}
		if r, err := u.CleanOnce(t.Context()); err != nil || r.Rows != 200 || r.Kept != 0 || m.blocksLeft() != 0 {
			t.Errorf("old names: %v: %+v, %v", old, r, err)
		}
	}
}

// TestFormerTargetThatIsGone: the events of a former target that is gone are kept, and do not stop the rest. If the
// object is copied to the current target, it is found there.
func TestFormerTargetThatIsGone(t *testing.T) {
	former, hop := hostileBucket(t)
	current := directory(t)
	log := &testlog.Buffer{}
	m, u, _ := relocated(t, former.Target, current.Target, func(o *Options) {
		withKeys(t, o.Target)(o)
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	key := m.plan(0).Key
	content := readAll(t, former.Target, key)
	info, err := former.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	hop.set(answer(http.StatusNotFound, "NoSuchBucket"))
	for i := range 3 {
		r, err := u.CleanOnce(t.Context())
		if err != nil || r.Kept != 1 || i == 0 && r.Rows != 100 || m.blocksLeft() != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if s := u.Status(); s.Jobs[JobClean].ConsecutiveFailures != 0 {
		t.Errorf("the job fails: %+v", s.Jobs[JobClean])
	}
	if n := strings.Count(log.String(), "former archive"); n != 1 || !strings.Contains(log.String(), "NoSuchBucket") {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if err := current.Put(t.Context(), key, strings.NewReader(string(content)), int64(len(content)), info.Meta); err != nil {
		t.Fatal(err)
	}
	if r, err := u.CleanOnce(t.Context()); err != nil || r.Rows != 100 || m.blocksLeft() != 0 {
		t.Errorf("copied: %+v, %v", r, err)
	}
}

// TestObjectBegunInAFormerTarget: wayside is killed between uploading and entering an object, and started with another
// target. The events are in only one archive.
func TestObjectBegunInAFormerTarget(t *testing.T) {
	former, current := bucket(t), directory(t)
	m := newMemStore(t)
	items := plainEvents(100, testHour, 1)
	m.apply(testEpoch, testHour, 500, items...)
	u, _ := newTest(t, m, former.Target, nil)
	m.failMark = errors.New("killed")
	if _, err := u.ArchiveOnce(t.Context(), true); err == nil {
		t.Fatal("no error")
	}
	u, _ = newTest(t, m, current.Target, withKeys(t, current.Target))
	if r, err := u.ArchiveOnce(t.Context(), true); err != nil || r.Resumed != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	wantArchived(t, former, items)
	if c, err := CountTarget(t.Context(), current); err != nil || c.Lines != 0 {
		t.Errorf("in the current target too: %+v, %v", c, err)
	}
	if got := m.plan(0).Target; got != former.Target.Name() {
		t.Errorf("entered as %s", got)
	}
}

// TestDataDirectoryIsMoved: the catalogue does not contain the path of the data directory. Entries of an older version
// do, and are found too.
func TestDataDirectoryIsMoved(t *testing.T) {
	for _, old := range []bool{false, true} {
		before, after := filepath.Join(t.TempDir(), "before"), filepath.Join(t.TempDir(), "after")
		at := func(dir string) Target {
			target, err := OpenTarget(t.Context(), "file://"+filepath.Join(dir, "archive"), TargetOptions{DataDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			return target
		}
		m := newMemStore(t)
		m.apply(testEpoch, testHour, 500, plainEvents(100, testHour, 1)...)
		u, _ := newTest(t, m, at(before), nil)
		if _, err := u.ArchiveOnce(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := m.plan(0).Target; got != "data:archive" {
			t.Fatalf("the catalogue calls the archive %s", got)
		}
		if old {
			m.plans[0].Target = at(before).String()
		}
		if err := os.Rename(before, after); err != nil {
			t.Fatal(err)
		}
		u, clk := newTest(t, m, at(after), func(o *Options) {
			o.Expire = 100 * time.Hour
			o.Targets = NewTargets(o.Target, TargetOptions{DataDir: after})
		})
		clk.advance(80 * time.Hour)
		if r, err := u.CleanOnce(t.Context()); err != nil || r.Rows != 100 || r.Expired != 0 {
			t.Fatalf("old names: %v: %+v, %v", old, r, err)
		}
		clk.advance(80 * time.Hour)
		if r, err := u.CleanOnce(t.Context()); err != nil || r.Expired != 1 {
			t.Errorf("old names: %v: %+v, %v", old, r, err)
		}
	}
}

func TestNamesOfTargets(t *testing.T) {
	for url, want := range map[string]string{
		"file:///d/archive":  "data:archive",
		"/d/x/y":             "data:x/y",
		"file:///elsewhere":  "file:///elsewhere",
		"s3://bkt":           "s3://bkt/",
		"s3://bkt/p q/a%25b": "s3://bkt/p%20q/a%25b",
		"s3://bkt/p?endpoint=http://127.0.0.1:7&region=auto&path_style=true": "s3://bkt/p?endpoint=http%3A%2F%2F127.0.0.1%3A7&path_style=true&region=auto",
	} {
		target, err := OpenTarget(t.Context(), url, TargetOptions{DataDir: "/d"})
		if err != nil {
			t.Fatal(err)
		}
		if got := target.Name(); got != want {
			t.Errorf("%s is called %s, want %s", url, got, want)
		}
		ts := NewTargets(target, TargetOptions{DataDir: "/d"})
		other, err := ts.open(t.Context(), target.Name())
		if err != nil || other.String() != target.String() || !ts.IsCurrent(target.Name()) || !ts.IsCurrent(target.String()) {
			t.Errorf("%s opens %v, %v", target.Name(), other, err)
		}
		if ts.IsCurrent("s3://another/p") || ts.IsCurrent("file:///another") || ts.IsCurrent("data:another") {
			t.Errorf("%s takes another for itself", url)
		}
	}
	target, err := OpenTarget(t.Context(), "s3://bkt/p?endpoint=http://h:1&region=eu&path_style=false", TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ts := NewTargets(target, TargetOptions{}); !ts.IsCurrent("s3://bkt/p?endpoint=http://h:1") || ts.IsCurrent("s3://bkt/p?endpoint=http://h:2") {
		t.Error("names of an older version are taken for something else")
	}
	if t2, err := NewTargets(target, TargetOptions{}).open(t.Context(), "s3://old/p?endpoint=http://h:1"); err != nil || t2.(*s3Target).hint.region != "eu" || *t2.(*s3Target).pathStyle {
		t.Errorf("a former bucket on the same server: %+v, %v", t2, err)
	}
}
