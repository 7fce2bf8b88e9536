package snapshot

import (
	"errors"
	"strings"
	"testing"
)

// TestNewerSnapshotIsRefused: a books process of a newer version may publish what this one cannot read. It must say so.
func TestNewerSnapshotIsRefused(t *testing.T) {
	body := (&Snapshot{Version: 3, ETag: `"x"`, JSON: []byte("{}")}).Encode()
	if _, err := Decode(body); err != nil {
		t.Fatal(err)
	}
	body[3] = '2'
	if _, err := Decode(body); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "a newer wayside made it (WSN2, this one reads WSN1)") {
		t.Error(err)
	}
}
