package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayside-proxy/wayside/collector/store/badgerfiles"
)

// TestOpenWithEmptyLog creates the files of a process that was killed after it had created a log file and before it
// extended the file. Badger would treat that as damage, but the store must not be set aside.
func TestOpenWithEmptyLog(t *testing.T) {
	for _, empty := range []string{"09999.mem", "099999.vlog"} {
		t.Run(empty, func(t *testing.T) {
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
			if err := os.WriteFile(filepath.Join(o.Dir, empty), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			c := openStore(t, o)
			if diff := cmp.Diff(want, allRows(t, c)); diff != "" {
				t.Errorf("rows: %s", diff)
			}
			if badgerfiles.Exists(o.QuarantineDir) {
				t.Error("the store was set aside")
			}
			apply(t, c, g.batch(500))
			checkPromises(t, c)
		})
	}
}
