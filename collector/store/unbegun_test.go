package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOpenAfterAKillBetweenCreateAndLength leaves the files that a process leaves when it is killed between creating a log
// file and giving it a length. Badger takes that for damage; nothing may be set aside for it.
func TestOpenAfterAKillBetweenCreateAndLength(t *testing.T) {
	for _, unbegun := range []string{"09999.mem", "099999.vlog"} {
		t.Run(unbegun, func(t *testing.T) {
			dir := t.TempDir()
			o := testOptions(filepath.Join(dir, "a"))
			s := openStore(t, o)
			g := newTraffic(1)
			for range 3 {
				apply(t, s, g.batch(500))
			}
			want := allRows(t, s)
			copyTree(t, filepath.Join(dir, "a"), filepath.Join(dir, "b"))
			o = testOptions(filepath.Join(dir, "b"))
			if err := os.WriteFile(filepath.Join(o.Dir, unbegun), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c := openStore(t, o)
			if diff := cmp.Diff(want, allRows(t, c)); diff != "" {
				t.Errorf("rows: %s", diff)
			}
			if exists(o.QuarantineDir) {
				t.Error("the store was set aside")
			}
			apply(t, c, g.batch(500))
			checkPromises(t, c)
		})
	}
}
