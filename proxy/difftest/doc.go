// Package difftest contains only tests. They compare the proxy with other real servers.
//
// The differential test sends the same bytes through wayside, httputil.ReverseProxy, nginx and haproxy to a recording origin,
// and compares the messages that the origin and the client receive. The behavior of wayside is pinned in
// testdata/outcomes.golden. Each way in which another proxy differs is numbered and explained in docs/HTTP.md. The test fails
// if a difference has no explanation, or if an explanation no longer matches a difference.
//
// The same scenarios are repeated with HTTP/2 between client and proxy, between proxy and origin, and on both sides.
//
// The smuggling tests send the corpus in test/httpcorpus over HTTP/1.1 and HTTP/2 through wayside to nginx, haproxy,
// Go's net/http and node, and compare the requests that each of them reports having received.
//
// If a program is not installed, the test reports that and skips the program. scripts/test.sh installs all of them.
package difftest
