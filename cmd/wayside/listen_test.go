package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestAddressThatMayCome: an address that this machine does not have, or an unknown name, may exist at the next start.
// So the exit code must not be that of a wrong configuration, after which systemd would not restart wayside. The error
// must contain the position in the configuration.
func TestAddressThatMayCome(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:0", "nosuch.invalid:0"} {
		var out, errs bytes.Buffer
		code := Main([]string{"run", "--upstream", "http://127.0.0.1:1", "--listen", addr, "--admin", "127.0.0.1:0", "--data", t.TempDir()}, &out, &errs)
		if code != exitFailure {
			t.Errorf("%s: exit code %d\n%s", addr, code, errs.String())
		}
		if place := "flag --listen: cannot listen on " + addr; addr == "192.0.2.1:0" && !strings.Contains(errs.String(), place) {
			t.Errorf("no %q in\n%s", place, errs.String()) // the text of a name server is not checked
		}
	}
}
