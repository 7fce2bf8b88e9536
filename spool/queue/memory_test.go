package queue

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// resident returns the number of KiB of a file that count as memory of this process.
func resident(t *testing.T, name string) (kib int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	mapped := false
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.Contains(fields[0], "-") {
			mapped = strings.HasSuffix(strings.TrimSpace(line), name)
		}
		var n int
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &n); err == nil && mapped {
			kib += n
		}
	}
	return kib
}

// TestReleasePages: pages of batches that were written or read do not stay in memory, and the batches can still be read.
func TestReleasePages(t *testing.T) {
	f := create(t, t.TempDir(), 64<<20)
	var batches []Batch
	var values [][]byte
	for i := range 40 {
		b, value := batch(t, uint64(1+1000*i), 1000)
		commit(t, f, &b, value, 0)
		batches, values = append(batches, b), append(values, value)
	}
	var read, most, released int
	for range 3 {
		for i := range batches {
			value, err := f.Read(&batches[i])
			if err != nil || !bytes.Equal(value, values[i]) {
				t.Fatalf("batch %d: %d bytes, %v", i, len(value), err)
			}
			read += len(value)
			now := resident(t, f.Name())
			if most = max(most, now); now < most/4 {
				released++
			}
		}
	}
	if want := read / releaseBytes; released < want/2 {
		t.Errorf("%d KiB were resident at most; they were released %d times while %d MiB were read", most, released, read>>20)
	}
}
