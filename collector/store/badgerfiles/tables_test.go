package badgerfiles

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestDamagedTablesAreClosed: trying to open a file that is not a table leaves no descriptor open.
func TestDamagedTablesAreClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "000007.sst")
	if err := os.WriteFile(name, bytes.Repeat([]byte{0xff}, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := open()
	for range 50 {
		if err := CheckTable(name); err == nil {
			t.Fatal("rubbish is a table")
		}
	}
	if after := open(); after > before+10 {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}
