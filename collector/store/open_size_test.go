package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

// openBytesEnv names the variable that enables the long form. Its value is the size in bytes of the store that is
// killed and opened.
const openBytesEnv = "WAYSIDE_STORE_OPEN_BYTES"

// fillChild applies batches until the store has the given size, prints that, and continues until it is killed.
func fillChild(dir string) {
	want, err := strconv.ParseInt(os.Getenv(openBytesEnv), 10, 64)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s, err := Open(testOptions(dir))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() { _ = s.Run(context.Background()) }()
	g := newTraffic(1)
	g.step, g.trace = 2_000, true
	path := make([]byte, 400)
	for full := false; ; {
		b := g.batch(1000)
		for i := range b.Items { // paths that do not compress, so that the store grows faster
			for j := range path {
				path[j] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[g.r.IntN(64)]
			}
			b.Items[i].Event.Path = append([]byte{'/'}, path...)
			b.Items[i].Record = nil
		}
		if err := s.Apply(b); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if lsm, _ := s.Size(); !full && lsm >= want {
			full = true
			fmt.Println("full", b.LastSeq)
		}
	}
}

// TestOpenAfterKillBySize kills a process whose store has the size in the environment, and opens the store: once with
// the pages in memory, as after a kill, and once without, as after a power cut. It prints the times and sets no limit,
// which would test the machine. Without the variable, it is skipped.
func TestOpenAfterKillBySize(t *testing.T) {
	if os.Getenv(openBytesEnv) == "" {
		t.Skipf("SKIPPED: set %s=1073741824 to open a store of 1 GiB", openBytesEnv)
	}
	dir := t.TempDir()
	c := child(t, "fill", dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines, last := bufio.NewScanner(out), uint64(0)
	if !lines.Scan() {
		t.Fatal("the child ended")
	}
	if _, err := fmt.Sscanf(lines.Text(), "full %d", &last); err != nil {
		t.Fatalf("child: %s", lines.Text())
	}
	time.Sleep(300 * time.Millisecond) // in the middle of a batch
	_ = c.Process.Kill()
	_ = c.Wait()
	o := testOptions(dir)
	for _, cold := range []bool{false, true} {
		if cold {
			dropCaches(t)
		}
		began := time.Now()
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		opened := time.Since(began)
		if mark := s.Watermarks()[testEpoch]; mark < last {
			t.Errorf("watermark %d, applied were %d", mark, last)
		}
		lsm, _ := s.Size()
		tables := len(s.db.Tables())
		closing := time.Now()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		fmt.Printf("store of %d MiB, %d tables, %d events, cold=%v: opened in %v, closed in %v\n",
			lsm>>20, tables, last, cold, opened.Round(time.Millisecond), time.Since(closing).Round(time.Millisecond))
	}
	if badgerfiles.Exists(o.QuarantineDir) {
		t.Error("a kill left something to quarantine")
	}
}

// dropCaches writes everything to disk and empties the kernel's page cache. It requires root.
func dropCaches(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches").CombinedOutput(); err != nil {
		t.Logf("the caches cannot be emptied: %v: %s", err, out)
	}
}
