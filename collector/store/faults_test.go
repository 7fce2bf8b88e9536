//go:build faults

package store

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/wayside-proxy/wayside/internal/crash"
)

// TestCrashPoints kills a child at each crash point of applying and of checkpoints, the k-th time it passes, and expects
// everything that it acknowledged, once.
func TestCrashPoints(t *testing.T) {
	for _, point := range []string{
		"store.apply.before", "store.sync.before", "store.sync.after", "store.apply.after",
		"store.checkpoint.before", "store.checkpoint.chunk", "store.checkpoint.after",
	} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			acknowledged := uint64(0)
			for _, k := range []int{0, 1, 5} {
				c := child(t, "apply", dir)
				c.Env = append(c.Env, fmt.Sprintf("%s=%s:%d", crash.Env, point, k))
				out, err := c.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				for lines := bufio.NewScanner(out); lines.Scan(); {
					if _, err := fmt.Sscanf(lines.Text(), "applied %d", &acknowledged); err != nil {
						t.Fatalf("child: %s", lines.Text())
					}
				}
				if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the child was not killed: %v", err)
				}
			}
			s := openStore(t, testOptions(dir))
			mark := s.Watermarks()[testEpoch]
			if totals, _ := s.Totals(); mark < acknowledged || totals.Applied != mark {
				t.Errorf("acknowledged up to %d, watermark %d, applied %d", acknowledged, mark, totals.Applied)
			}
		})
	}
}
