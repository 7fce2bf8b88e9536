package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDamagedBackup: a backup that has a flipped bit or was truncated is not used and not mistaken for a newer version.
// Nothing else is lost.
func TestDamagedBackup(t *testing.T) {
	o := ledgerOptions(t, 2)
	s := openStore(t, o)
	for n := range byte(4) {
		finish(t, s, n+1)
	}
	want := s.Ledgers()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(backupFile(&o))
	if err != nil {
		t.Fatal(err)
	}
	var damaged [][]byte
	for at := range whole {
		damaged = append(damaged, whole[:at])
		for bit := range 8 {
			body := bytes.Clone(whole)
			body[at] ^= 1 << bit
			damaged = append(damaged, body)
		}
	}
	for i, body := range damaged {
		if k, err := decodeBackup(body); !errors.Is(err, ErrDamaged) || len(k.Ledgers) > 0 {
			t.Fatalf("%d: %v, %+v:\n%s", i, err, k, body)
		}
	}
	if k, err := decodeBackup(whole); err != nil || len(k.Ledgers) != 3 {
		t.Fatal(err, k)
	}
	for i := 0; i < len(damaged); i += 1 + len(damaged)/12 {
		for _, lost := range []bool{false, true} {
			to := ledgerOptions(t, 2)
			copyTree(t, filepath.Dir(o.Dir), filepath.Dir(to.Dir))
			if err := os.WriteFile(backupFile(&to), damaged[i], 0o600); err != nil {
				t.Fatal(err)
			}
			if lost {
				cutFiles(t, to.Dir, "*.sst", 7)
			}
			s := openStore(t, to)
			now, err := os.ReadFile(backupFile(&to))
			switch {
			case lost && (len(s.Ledgers()) > 0 || mustTotals(t, s) != Totals{}):
				t.Errorf("%d: a part of a damaged file was used: %+v, %+v", i, s.Ledgers(), mustTotals(t, s))
			case !lost && (!cmp.Equal(want, s.Ledgers()) || err != nil || !bytes.Equal(now, whole)):
				t.Errorf("%d: %+v, %v:\n%s", i, s.Ledgers(), err, now)
			}
			if aside, _ := filepath.Glob(filepath.Join(to.QuarantineDir, "*-store.ledgers*")); len(aside) != 2 {
				t.Errorf("%d: set aside: %v", i, aside)
			}
			finish(t, s, 9)
		}
	}
}

// TestNewerBackup: the backup of a newer wayside is rejected, the error names it, and nothing is changed.
func TestNewerBackup(t *testing.T) {
	o := ledgerOptions(t, 2)
	s := openStore(t, o)
	finish(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text := []byte("of another kind")
	body := append([]byte(backupHead("2", text)), text...)
	if err := os.WriteFile(backupFile(&o), body, 0o600); err != nil {
		t.Fatal(err)
	}
	before := filesOf(o.Dir)
	_, err := Open(o)
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "store.ledgers") || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("opened: %v", err)
	}
	if now, _ := os.ReadFile(backupFile(&o)); !bytes.Equal(now, body) || filesOf(o.Dir) != before {
		t.Error("something was changed")
	}
}
