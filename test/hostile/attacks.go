package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// attack is one way of occupying or flooding a listener. The attacks of a group run at the same time.
type attack struct {
	group, name, about string
	s3                 bool // the archive is on S3 and has objects
	run                func(ctx context.Context, a *attacker)
}

const (
	unreadBytes = 4 << 10 // receive buffer of a client that does not read
	halfHeader  = 30 << 10
)

var attacks = []attack{
	{"metrics", "metrics-probes", "1,000 connections to the probes listener with five GET /metrics each, and the responses are not read", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Probes, conns: 1000, from: 1, first: get("/metrics", 5)})
	}},
	{"metrics", "metrics-admin", "the same on the admin listener", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Admin, conns: 1000, from: 4, first: get("/metrics", 5)})
	}},
	{"unread", "events-unread", "64 connections that request 10,000 events and do not read them", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Admin, conns: 64, from: 2, first: get("/api/v1/events?limit=10000", 2)})
	}},
	{"unread", "snapshot-unread", "500 connections with twenty GET /snapshot each, 100 with /api/v1/live and 100 with /api/v1/tail, and the responses are not read", false, func(ctx context.Context, a *attacker) {
		go a.hold(ctx, hold{addr: a.Admin, conns: 100, from: 1, first: get("/api/v1/live", 1)})
		go a.hold(ctx, hold{addr: a.Admin, conns: 100, from: 1, first: get("/api/v1/tail", 1)})
		a.hold(ctx, hold{addr: a.Admin, conns: 500, from: 4, first: get("/snapshot", 20)})
	}},

	{"stopped", "stopped-books", "the books process is stopped; 25 requests a second for /metrics, relayed pages and /readyz?verbose", false, stoppedBooks},

	{"half", "half-header-one", "550 requests with an unfinished header to each of the probes and the admin listener, from one address", false, half(1, "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n", "")},
	{"half", "half-header-many", "the same from 64 addresses", false, half(64, "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n", "")},
	{"half", "half-body-one", "GET /livez with a Content-Length and no body, from one address", false, half(1, "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n", "")},
	{"half", "half-body-many", "the same from 64 addresses", false, half(64, "GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n", "")},
	{"half", "half-slow-one", "a header with one byte every two seconds, from one address", false, half(1, "GET /livez HTTP/1.1\r\nX: ", "x")},
	{"half", "half-slow-many", "the same from 64 addresses", false, half(64, "GET /livez HTTP/1.1\r\nX: ", "x")},

	{"queries", "queries-range", "queries over all years, ten a second by clients that disconnect, two a second by clients that wait", true, queries},
	{"queries", "verify-many", "up to eight requests for a verification at the same time, repeatedly, also as from another website", true, verifyMany},

	{"flood", "half-headers", "3,500 unfinished headers of 30 KB on the traffic port, from 16 addresses", false, func(ctx context.Context, a *attacker) {
		text := []byte("GET /half HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("f", 1000)+"\r\n", halfHeader/1012))
		a.hold(ctx, hold{addr: a.Traffic, conns: 3500, from: 16, first: func(int) []byte { return text }})
	}},
	{"flood", "huge-headers", "20 requests a second with headers of 60 KB and of 2 MB", false, hugeHeaders},
	{"flood", "slow-readers", "1,000 connections from 64 addresses that request 64 MiB and do not read", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 1000, from: 64, first: get("/large", 1)})
	}},
	{"flood", "pipelined", "500 connections with 50 pipelined requests for 100 KiB each, and the responses are not read", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 500, from: 16, first: get("/page", 50)})
	}},

	{"held", "one-byte-posts", "4,200 POST requests that send one byte of two, from 16 addresses", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 4200, from: 16, read: true, first: func(int) []byte {
			return []byte("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
		}})
	}},
	{"held", "idle", "2,000 connections from 64 addresses that send nothing", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 2000, from: 64, read: true})
	}},
	{"held", "churn", "200 connections a second that send a request and are reset", false, func(ctx context.Context, a *attacker) {
		a.ask(ctx, ask{addr: a.Traffic, rate: 200, from: 4, stay: 2 * time.Millisecond, texts: []string{"GET /churn HTTP/1.1\r\nHost: a\r\n\r\n"}})
	}},
	{"held", "tiny-chunks", "100 uploads in chunks of one byte, twenty a second each", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 100, from: 4, read: true, drip: []byte("1\r\na\r\n"), every: 50 * time.Millisecond, first: func(int) []byte {
			return []byte("POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		}})
	}},
	{"held", "upgrades", "1,000 connections that are upgraded to another protocol and send nothing, from 16 addresses", false, func(ctx context.Context, a *attacker) {
		a.hold(ctx, hold{addr: a.Traffic, conns: 1000, from: 16, read: true, first: func(int) []byte {
			return []byte("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		}})
	}},

	{"http2", "http2-attacks", "20 hostile HTTP/2 connections a second from 16 addresses: floods of frames, resets, field blocks, requests and WebSockets without an end, broken frames", false, http2Attacks},

	{"names", "names", "30,000 requests over as many hosts and paths, 2,000 of them of 246 bytes each; then 1,000 connections with five unread GET /metrics", false, manyNames},
}

// get returns n pipelined requests.
func get(path string, n int) func(int) []byte {
	text := []byte(strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", n))
	return func(int) []byte { return text }
}

// half keeps 550 unfinished requests open on the probes listener, and the same number on the admin listener. It sends drip every two
// seconds.
func half(from int, first, drip string) func(context.Context, *attacker) {
	return func(ctx context.Context, a *attacker) {
		h := hold{conns: 550, from: from, read: true, first: func(int) []byte { return []byte(first) }, drip: []byte(drip)}
		h.addr = a.Probes
		go a.hold(ctx, h)
		h.addr = a.Admin
		a.hold(ctx, h)
	}
}

func once(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func stoppedBooks(ctx context.Context, a *attacker) {
	_ = syscall.Kill(a.Books, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(a.Books, syscall.SIGCONT) }()
	pages := []string{
		once("/metrics"), once("/api/v1/paths"), once("/readyz?verbose"), once("/"), once("/api/v1/accounting"), once("/api/v1/recent"),
	}
	go a.ask(ctx, ask{addr: a.Probes, rate: 5, from: 1, stay: time.Minute, texts: []string{once("/metrics")}})
	go a.ask(ctx, ask{addr: a.Probes, rate: 5, from: 1, stay: time.Minute, texts: []string{once("/readyz?verbose")}})
	go a.ask(ctx, ask{addr: a.Admin, rate: 5, from: 1, stay: 100 * time.Millisecond, texts: pages})
	a.ask(ctx, ask{addr: a.Admin, rate: 10, from: 2, stay: time.Minute, texts: pages})
}

func queries(ctx context.Context, a *attacker) {
	texts := []string{
		once("/api/v1/paths?from=1970-01-01&to=9999-01-01"),
		once("/api/v1/series?path=/n/*&from=1970-01-01&to=9999-01-01"),
		once("/api/v1/series?path=/n/*&from=-400d&step=1h"),
		once("/api/v1/events?from=1970-01-01&to=9999-01-01&path=/nowhere&limit=10000"),
		once("/api/v1/events?from=1970-01-01&to=9999-01-01&status=599"),
		once("/api/v1/paths?from=1970-01-01&to=9999-01-01&compare_from=1970-01-01&compare_to=9999-01-01&limit=10000"),
		once("/api/v1/archives?limit=10000"),
		once("/api/v1/storage"),
	}
	go a.ask(ctx, ask{addr: a.Admin, rate: 10, from: 4, stay: 200 * time.Millisecond, texts: texts})
	a.ask(ctx, ask{addr: a.Admin, rate: 2, from: 2, stay: time.Minute, texts: texts})
}

func verifyMany(ctx context.Context, a *attacker) {
	get := once("/api/v1/verify")
	post := "POST" + strings.TrimPrefix(get, "GET")
	texts := []string{
		get, once("/api/v1/verify", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
		strings.Replace(post, "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", 1),
		strings.Replace(post, "\r\n\r\n", "\r\nContent-Length: 0\r\nOrigin: http://evil.example\r\n\r\n", 1),
	}
	a.ask(ctx, ask{addr: a.Admin, rate: 8, most: 8, from: 1, stay: time.Minute, texts: texts})
}

func hugeHeaders(ctx context.Context, a *attacker) {
	large := func(size int) string { return once("/huge", "X-Large: "+strings.Repeat("h", size)) }
	texts := []string{large(60 << 10), large(2 << 20), once("/" + strings.Repeat("p", 60<<10)), once("/many", strings.Repeat("A: b\r\n", 9000)+"C: d")}
	a.ask(ctx, ask{addr: a.Traffic, rate: 20, from: 4, stay: 5 * time.Second, texts: texts})
}

func manyNames(ctx context.Context, a *attacker) {
	const all, long = 30_000, 2_000
	n := min(all, 500*a.Seconds) // in a short run, there is no time for all of them
	every := max(seconds(a.Seconds)/3/time.Duration(n), 500*time.Microsecond)
	a.names(ctx, n, every, func(i int) string {
		host, path := fmt.Sprintf("host-%d.example", i), fmt.Sprintf("/name-%x/%d", i*7919, i)
		if i%(n/min(long, n)) == 0 {
			host += strings.Repeat(".aaaaaaaaa", 30)
			path += "/" + strings.Repeat("b", 300)
		}
		return "GET " + path[:min(len(path), 245)] + " HTTP/1.1\r\nHost: " + host[:min(len(host), 246)] + "\r\n\r\n"
	})
	a.hold(ctx, hold{addr: a.Probes, conns: 1000, from: 4, first: get("/metrics", 5)})
}
