//go:build faults

package store

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/wayside-proxy/wayside/internal/crash"
	"github.com/wayside-proxy/wayside/internal/stats"
)

// TestCrashPoints kills a child at each crash point of applying and of checkpoints, when it passes the point for the
// k-th time, and expects everything that it has acknowledged, exactly once.
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

// TestRefillCrashPoints kills a child that is refilling a store in each of its transactions, until a child reaches the
// end. Each response must be counted once.
func TestRefillCrashPoints(t *testing.T) {
	for _, point := range []string{"store.refill.before:1", "store.refill.after:0"} { // each life writes one transaction
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			lost := manyRows(uuid.UUID{1}, 1300)
			loseStore(t, testOptions(dir), lost)
			lives := 1
			for ; lives < 20; lives++ {
				c := child(t, "refill", dir)
				c.Env = append(c.Env, crash.Env+"="+point)
				out, err := c.CombinedOutput()
				if err == nil {
					break
				}
				if !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the child was not killed: %v\n%s", err, out)
				}
			}
			if lives < 3 || lives == 20 {
				t.Errorf("%d children were needed", lives)
			}
			s, object := openStore(t, testOptions(dir)), objectOf(lost)
			n := object.Plan.Rows
			if totals := mustTotals(t, s); totals != (Totals{Applied: n, Quarantined: 3, Archived: n, Deleted: n}) {
				t.Errorf("%+v, want %d responses", totals, n)
			}
			want := map[stats.Key]string{}
			for i, k := range object.Keys {
				body, _ := object.Rows[i].AppendBinary(nil)
				want[k] = string(body)
			}
			if diff := cmp.Diff(want, allRows(t, s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
