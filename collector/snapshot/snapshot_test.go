package snapshot

import (
	"errors"
	"strings"
	"testing"
)

// TestNewerSnapshotIsRefused: a books process of a newer version may publish snapshots that this version cannot read.
// The error must say so.
func TestNewerSnapshotIsRefused(t *testing.T) {
	body := (&Snapshot{Version: 3, ETag: `"x"`, JSON: []byte("{}")}).Encode()
	if _, err := Decode(body); err != nil {
		t.Fatal(err)
	}
	body[3] = '2'
	if _, err := Decode(body); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "it was made by a newer version of wayside (format WSN2, this one reads WSN1)") {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&Snapshot{Version: 1, ETag: `"1"`, JSON: []byte("{}"), Gzip: []byte("x")}).Encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := Decode(body); err == nil && string(s.Encode()) != string(body) {
			t.Error("what was accepted is not what Encode writes")
		}
	})
}
