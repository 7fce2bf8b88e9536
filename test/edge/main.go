// Command edge proves, with the real binary, that wayside can be trusted at the edge of a network.
//
//	go run ./test/edge topology [-requests 1000000] [-for 10m]   servers are killed, hang, return, and are taken out by reloads; every response is accounted for
//	go run ./test/edge reload [-reloads 100]                     WebSockets stay open through reloads under load
//	go run ./test/edge certificates [-swaps 100] [-rate 1000]    no handshake fails while certificates are replaced
//	go run ./test/edge testssl                                   testssl.sh finds nothing of medium severity or worse
//
// topology needs root, nginx, node and unshare (util-linux), because wayside runs in a mount namespace in which it uses this command's
// own DNS resolver. testssl needs Debian's testssl.sh. The outcome is appended to docs/evidence/edge.md.
package main

import (
	"fmt"
	"os"

	"github.com/wayside-proxy/wayside/test/e2e"
)

var commands = map[string]e2e.Proof{"topology": topology, "reload": reload, "certificates": certificates, "testssl": testssl}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run ./test/edge topology|reload|certificates|testssl [flags]")
		os.Exit(2)
	}
	os.Exit(e2e.RunProof("edge", os.Args[1], commands[os.Args[1]], "docs/evidence/edge.md", evidenceHead, os.Args[2:]))
}

const evidenceHead = `# Evidence: the edge

` + "`go run ./test/edge`" + ` makes these proofs and appends one line per run: time, commit (a "+" means that the work tree differed
from it), proof, figures, duration, verdict.

`
