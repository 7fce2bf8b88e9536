package procfs

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("42 (a ) b) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7 8"))
	if want := (Stat{Parent: 7, State: 'S', CPU: 1200 * time.Millisecond, Children: 70 * time.Millisecond}); err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	for _, bad := range []string{"", "42 (x) S 7", "42 (x) S p 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFields(t *testing.T) {
	n, err := kibField([]byte("5563 [rollup]\nRss:   2000 kB\nPss:       1234 kB\nPss_Anon: 1 kB\n"), "Pss:")
	if err != nil || n != 1234<<10 {
		t.Error(n, err)
	}
	if _, err := kibField(nil, "Pss:"); err == nil {
		t.Error("an empty rollup is accepted")
	}
}

func TestOwnProcess(t *testing.T) {
	s, err := ReadStat(os.Getpid())
	if err != nil || s.Parent != os.Getppid() {
		t.Errorf("%+v, %v", s, err)
	}
	resident, err := Status(os.Getpid(), "VmRSS:")
	if err != nil || resident == 0 {
		t.Error(resident, err)
	}
	all, anonymous, err := PSS(os.Getpid())
	if err != nil || all == 0 || anonymous == 0 || anonymous > all {
		t.Error(all, anonymous, err)
	}
}
