// Package difftest holds no code, only tests: the proxy beside other servers, all of them real.
//
// The differential test sends the same bytes through wayside, httputil.ReverseProxy, nginx and haproxy to one recording
// origin, and compares what the origin and the client see. What wayside does is pinned in testdata/outcomes.golden; each way
// in which another proxy differs is numbered and explained in docs/HTTP.md, and the test fails when one is not, or when an
// explanation no longer explains anything.
//
// The smuggling test sends the corpus of test/httpcorpus through wayside to nginx, haproxy, Go's net/http and node, and
// compares the requests that each of them believes it has received.
//
// Programs that are not installed are reported and their part is skipped; scripts/test.sh installs them.
package difftest
