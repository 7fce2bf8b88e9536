package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestAddressThatMayCome: an address that this machine does not have now, or a name that nobody knows, may be there at the next start. It ends
// run with another code than a wrong configuration, after which systemd would not start it again, and the error has its place all the same.
func TestAddressThatMayCome(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:0", "nosuch.invalid:0"} {
		var out, errs bytes.Buffer
		code := Main([]string{"run", "--upstream", "http://127.0.0.1:1", "--listen", addr, "--admin", "127.0.0.1:0", "--data", t.TempDir()}, &out, &errs)
		if code != exitFailure {
			t.Errorf("%s: exit code %d\n%s", addr, code, errs.String())
		}
		if place := "flag --listen: cannot listen on " + addr; addr == "192.0.2.1:0" && !strings.Contains(errs.String(), place) {
			t.Errorf("no %q in\n%s", place, errs.String()) // what a name server says is its own affair
		}
	}
}
