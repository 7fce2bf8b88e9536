package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/test/s3test"
	"github.com/wayside-proxy/wayside/test/testlog"
)

var (
	buildOnce sync.Once
	binaryDir string
	binary    string
	buildErr  error
)

// testBinary builds wayside once for all tests, with the race detector if the tests use it.
func testBinary(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		//nolint:usetesting // lives longer than the first test
		if binaryDir, buildErr = os.MkdirTemp("", "wayside-bin-"); buildErr != nil {
			return
		}
		var args []string
		if raceEnabled {
			args = append(args, "-race")
		}
		binary, buildErr = Build(context.Background(), binaryDir, args...)
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return binary
}

func TestMain(m *testing.M) {
	// These tests mostly wait for processes, so more of them can run at the same time than the machine has cores.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	flag.Parse()
	code := m.Run()
	if binaryDir != "" {
		_ = os.RemoveAll(binaryDir)
	}
	os.Exit(code)
}

func startStack(t *testing.T, env ...string) (*Stack, *testlog.Buffer) {
	t.Helper()
	if _, err := NginxPath(); err != nil {
		t.Skipf("SKIPPED, there is no origin: %v", err)
	}
	if _, err := s3test.Binary(); err != nil {
		t.Skipf("SKIPPED, there is no S3 server: %v", err)
	}
	dir, err := os.MkdirTemp("", "wayside-e2e-") //nolint:usetesting // nginx's workers run as another user and need access
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	log := &testlog.Buffer{}
	s, err := StartStack(t.Context(), StackOptions{Dir: dir, Binary: testBinary(t), Env: env, Log: log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("wayside's log:\n%s", log)
		}
		if bytes.Contains([]byte(log.String()), []byte("DATA RACE")) {
			t.Errorf("the race detector found a race:\n%s", log)
		}
	})
	return s, log
}

func check(t *testing.T, s Scenario, stack *Stack) *Outcome {
	t.Helper()
	out, err := s.Run(t.Context(), stack.Wayside, stack.Target)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(out); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s; settled in %v, archived in %v, %d objects, accounting %+v", out.Load, out.Settled, out.Archived, out.Books.Objects, out.Accounting)
	return out
}

// TestPipeline checks that every request is one line in the bucket, and that local events are deleted only after that.
func TestPipeline(t *testing.T) {
	t.Parallel()
	stack, _ := startStack(t, "WAYSIDE_RETENTION_EVENTS=1s")
	s := Scenario{Requests: 20_000, Connections: 16}
	out := check(t, s, stack)
	if out.Books.Lines != s.Requests || uint64(len(out.Books.IDs)) != s.Requests || out.Load.FailedTotal() != 0 {
		t.Fatalf("%d lines, %d event ids for %d requests, %d failed", out.Books.Lines, len(out.Books.IDs), s.Requests, out.Load.FailedTotal())
	}
	if out.Accounting.Deleted != 0 {
		t.Fatalf("%d events deleted before retention ran", out.Accounting.Deleted)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := stack.Wayside.Ask(t.Context(), http.MethodPost, "/-/job/clean"); err != nil {
			t.Logf("clean: %v", err) // events that are newer than the checkpoint must wait for the next one
		}
		a, err := stack.Wayside.Accounting(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		if a.Deleted == s.Requests {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("retention has deleted %d of %d archived events", a.Deleted, a.Archived)
		}
		time.Sleep(100 * time.Millisecond)
	}
	after, err := ReadBooks(t.Context(), stack.Target)
	if err != nil {
		t.Fatal(err)
	}
	if after.Lines != s.Requests {
		t.Errorf("%d lines in the bucket after local deletion", after.Lines)
	}
}

// TestEventsOfMissingObjectsStay removes objects from the bucket between archiving and retention. Their events must stay.
func TestEventsOfMissingObjectsStay(t *testing.T) {
	t.Parallel()
	stack, log := startStack(t, "WAYSIDE_RETENTION_EVENTS=1s")
	s := Scenario{Requests: 2_000, Connections: 8}
	check(t, s, stack)
	objects, err := filepath.Glob(stack.S3.ObjectPath("books/v1/dt=*/hour=*/*.ndjson.gz"))
	if err != nil || len(objects) == 0 {
		t.Fatalf("objects in the bucket: %v, %v", objects, err)
	}
	for _, object := range objects {
		if err := os.Remove(object); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(6 * time.Second) // longer than the retention and until a checkpoint
	_, _ = stack.Wayside.Ask(t.Context(), http.MethodPost, "/-/job/clean")
	a, err := stack.Wayside.Accounting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Deleted != 0 {
		t.Errorf("%d events were deleted although their objects are missing\n%s", a.Deleted, log)
	}
}

// TestKills kills the books process and the traffic process under load. Nothing is lost, and nothing is in the books twice.
func TestKills(t *testing.T) {
	t.Parallel()
	stack, _ := startStack(t)
	check(t, Scenario{Requests: 40_000, Connections: 32, KillBooks: 3, KillRun: 2, Seed: 1}, stack)
}

// TestKillingTheBooksFailsNoRequest kills only the books process. In that case, Check allows no failed request.
func TestKillingTheBooksFailsNoRequest(t *testing.T) {
	t.Parallel()
	stack, _ := startStack(t)
	check(t, Scenario{Requests: 40_000, Connections: 32, KillBooks: 4, Seed: 2}, stack)
}

// TestTermArchivesEverything sends SIGTERM right after the traffic. When the process has ended, the bucket must have
// everything.
func TestTermArchivesEverything(t *testing.T) {
	t.Parallel()
	stack, log := startStack(t)
	out := check(t, Scenario{Requests: 1_000, Connections: 8}, stack)
	for i := range 5_000 {
		resp, err := http.Get(fmt.Sprintf("http://%s/n/%d", stack.Wayside.Listen, 1_000+i))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if err := stack.Wayside.Stop(40 * time.Second); err != nil {
		t.Fatalf("exit: %v\n%s", err, log)
	}
	books, err := ReadBooks(t.Context(), stack.Target)
	if err != nil {
		t.Fatal(err)
	}
	if want := out.Books.Lines + 5_000; books.Lines != want || books.Nonces.Count() != want {
		t.Errorf("%d lines and %d nonces in the bucket, want %d", books.Lines, books.Nonces.Count(), want)
	}
}
