package difftest

import (
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// This file compares the proxies for the pairs of protocols that include HTTP/2. It plays the scenarios of HTTP/1.1 that exist in HTTP/2, too.

// pair says which sides speak HTTP/2.
type pair struct {
	name           string
	client, origin bool
}

var pairs = []pair{{"2 to 1", true, false}, {"1 to 2", false, true}, {"2 to 2", true, true}}

// hanging lists scenarios in which one of the other proxies does not respond in time. TestDifferences has them for HTTP/1.1.
var hanging = []string{"2 to 1: broken two lengths", "2 to 1: broken length list", "2 to 1: broken space before length", "1 to 2: expect chunked"}

// scenarios returns the scenarios that exist for the pair. Those about the syntax of HTTP/1.1 requests are left out: HTTP/1.1 clients send them
// in TestDifferences, and the smuggling test has the counterparts of HTTP/2.
func (p pair) scenarios() (list []scenario) {
	for _, s := range scenarios() {
		if strings.HasPrefix(s.name, "strict ") || slices.Contains(hanging, p.name+": "+s.name) {
			continue
		}
		if _, ok := http2Request(s); p.client && !ok {
			continue
		}
		method, _, _ := strings.Cut(s.send[0], " ")
		if _, ok := http2Answer(s, method); p.origin && !ok {
			continue
		}
		list = append(list, s)
	}
	return list
}

// talk returns the client of the pair.
func (p pair) talk() func(*testing.T, string, scenario) []*response {
	if p.client {
		return talkHTTP2
	}
	return talk
}

func (p pair) record(t *testing.T) recording {
	if p.origin {
		return newHTTP2Recorder(t)
	}
	return newRecorder(t)
}

// startPeer starts a proxy for the pair.
func (p pair) startPeer(t *testing.T, name, backend string) string {
	switch name {
	case "ReverseProxy":
		return reverseProxyFor(t, p, backend)
	case "nginx":
		return nginxFor(t, p, backend)
	case "haproxy":
		return haproxyFor(t, p, backend)
	}
	scheme := "http://"
	if p.origin {
		scheme = "h2c://"
	}
	addr, _ := waysideFor(t, scheme+backend)
	return addr
}

// outcomes plays the scenarios of the pair through a proxy.
func (p pair) outcomes(t *testing.T, name string) (list []outcome) {
	r := p.record(t)
	addr := p.startPeer(t, name, r.addr())
	for _, s := range p.scenarios() {
		list = append(list, p.outcome(t, addr, r, s))
	}
	return list
}

func (p pair) outcome(t *testing.T, addr string, r recording, s scenario) outcome {
	o := play(t, addr, r, s, p.talk())
	if p.client {
		delete(o, "connection") // it does not depend on the request
	}
	return o
}

// differsAgain plays a scenario through another proxy up to four more times, and reports whether it differs from wayside each time. Other proxies
// have races: HAProxy, for example, loses a response now and then if an interim response precedes it.
func (p pair) differsAgain(t *testing.T, name string, s scenario, own outcome, aspect string) bool {
	r := p.record(t)
	addr := p.startPeer(t, name, r.addr())
	for range 4 {
		if !slices.Contains(differing(own, p.outcome(t, addr, r, s)), aspect) {
			return false
		}
	}
	return true
}

// neutral returns a text without the names of versions and framings that both protocols express in different ways.
func neutral(text string) string {
	return strings.NewReplacer(" HTTP/1.1", "", " HTTP/2", "", "chunked", "stream").Replace(text)
}

// peers returns the proxies with which wayside is compared. nginx speaks HTTP/2 to servers only as gRPC.
func (p pair) peers() []string {
	if p.origin {
		return []string{"ReverseProxy", "haproxy"}
	}
	return []string{"ReverseProxy", "nginx", "haproxy"}
}

// TestHTTP2Differences is like TestOutcomes and TestDifferences, for the pairs with HTTP/2. It pins what wayside does in a different way than with
// HTTP/1.1 on both sides. A difference from another proxy may have a reason of TestDifferences, or one of its own.
func TestHTTP2Differences(t *testing.T) {
	log.SetOutput(io.Discard)
	played := playPairs(t)
	if t.Failed() {
		return
	}
	golden(t, "testdata/outcomes-http2.golden", changedByHTTP2(played))
	used := map[string]int{}
	var list strings.Builder
	count, exchanges := 0, 0
	for _, p := range pairs {
		for k, s := range p.scenarios() {
			exchanges++
			for _, name := range p.peers() {
				own, theirs := played[p.name+" wayside"][k], played[p.name+" "+name]
				if theirs == nil {
					t.Skipf("NOT RUN: %s is not installed", name)
				}
				for _, aspect := range differing(own, theirs[k]) {
					id := explain(s.name, name, aspect)
					if id == "" {
						id = explainHTTP2(p.name, s.name, name, aspect)
					}
					if id == "" && !p.differsAgain(t, name, s, own, aspect) {
						continue
					}
					count++
					if id == "" {
						t.Errorf("%s: %s: %s: %s differs without a reason\n  wayside %s\n  %s %s", p.name, s.name, name, aspect, own[aspect], name, theirs[k][aspect])
					}
					used[id]++
					fmt.Fprintf(&list, "%s\t%s\t%s\t%s\t%s\n\twayside: %s\n\t%s: %s\n", id, p.name, s.name, name, aspect, own[aspect], name, theirs[k][aspect])
				}
			}
		}
	}
	if *update {
		if err := os.WriteFile("testdata/differences-http2.txt", []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var reasons []reason
	for _, r := range http2Reasons {
		reasons = append(reasons, r.reason)
	}
	checkReasons(t, reasons, used)
	t.Logf("%d scenarios over %d pairs, %d differences, %d reasons", exchanges, len(pairs), count, len(used))
}

// playPairs plays all scenarios of all pairs through all proxies, and with HTTP/1.1 through wayside. The key is the pair and the proxy.
func playPairs(t *testing.T) map[string][]outcome {
	var mu sync.Mutex
	played := map[string][]outcome{} // guarded by mu
	t.Run("play", func(t *testing.T) {
		for _, p := range append([]pair{{name: "1 to 1"}}, pairs...) {
			names := []string{"wayside"}
			if p.client || p.origin {
				names = append(names, p.peers()...)
			}
			for _, name := range names {
				t.Run(p.name+" "+name, func(t *testing.T) {
					t.Parallel()
					list := p.outcomes(t, name)
					mu.Lock()
					defer mu.Unlock()
					played[p.name+" "+name] = list
				})
			}
		}
	})
	return played
}

// changedByHTTP2 returns the aspects in which wayside differs from itself with HTTP/1.1 on both sides.
func changedByHTTP2(played map[string][]outcome) string {
	plain := map[string]outcome{}
	for i, s := range (pair{name: "1 to 1"}).scenarios() {
		plain[s.name] = played["1 to 1 wayside"][i]
	}
	var text strings.Builder
	for _, p := range pairs {
		for i, s := range p.scenarios() {
			for _, aspect := range aspects {
				was, is := neutral(plain[s.name][aspect]), neutral(played[p.name+" wayside"][i][aspect])
				if was != is && (aspect != "connection" || !p.client) {
					fmt.Fprintf(&text, "%s: %s: %s\n\t1 to 1: %s\n\t%s: %s\n", p.name, s.name, aspect, was, p.name, is)
				}
			}
		}
	}
	return text.String()
}
