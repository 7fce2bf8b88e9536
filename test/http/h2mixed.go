package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wayside-proxy/wayside/test/h2peer"
)

// streamsPerConnection is the number of requests that a client of these proofs has in progress on each connection.
const streamsPerConnection = 8

// originStreams is the number of streams that the origins accept on each connection.
const originStreams = 20

// mixedHTTP2 is the mixed proof over HTTP/2: half of the requests in cleartext, the other half over TLS. wayside forwards to an HTTP/1.1
// origin and to HTTP/2 origins in cleartext and over TLS.
func mixedHTTP2(ctx context.Context, r *rig, streams, seed uint64) (string, error) {
	return overHTTP2(ctx, r, func(ctx context.Context, sub *rig) (string, error) {
		seed++
		return mixedHTTP2Half(ctx, sub, streams/2, seed)
	})
}

func mixedHTTP2Half(ctx context.Context, r *rig, streams, seed uint64) (string, error) {
	one, err := startMixedOrigin(streams)
	if err != nil {
		return "", err
	}
	defer one.stop()
	plain, err := startHTTP2Origin(streams, h2peer.Options{Streams: originStreams})
	if err != nil {
		return "", err
	}
	defer plain.server.Stop()
	private, err := startHTTP2Origin(streams, h2peer.Options{TLS: r.http2.server, Window: 65535, Streams: originStreams})
	if err != nil {
		return "", err
	}
	defer private.server.Stop()
	config := fmt.Sprintf(`upstreams: {h1: '%s', h2c: '%s', h2: {servers: ['%s'], tls: {insecure: true}}}
routes:
  - {name: h1, path: /h1/*, to: h1}
  - {name: h2c, path: /h2c/*, to: h2c}
  - {name: h2, path: /h2/*, to: h2}
  - {name: h1-timeout, path: /timeout/h1/*, to: h1, response_timeout: 2s}
  - {name: h2c-timeout, path: /timeout/h2c/*, to: h2c, response_timeout: 2s}
  - {name: h2-timeout, path: /timeout/h2/*, to: h2, response_timeout: 2s}
proxy: {http2_resets_max: 10000}
`, one.url(), plain.server.URL(), private.server.URL())
	file := filepath.Join(r.dir, "wayside.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return "", err
	}
	r.args = append(r.args, "--config", file)
	if err := r.start(ctx, ""); err != nil {
		return "", err
	}
	client := newHTTP2Client(r.wayside.Listen, streams, seed, r.http2.options)
	client.run(ctx, 8)
	took := time.Since(client.began)
	text, err := client.verdict(ctx, r, func(nonce uint64) uint32 {
		return one.arrived[nonce].Load() + plain.arrived[nonce].Load() + private.arrived[nonce].Load()
	}, plain.died.Load()+private.died.Load())
	return fmt.Sprintf("%d streams in %v (%.0f/s), %s", streams, took.Round(100*time.Millisecond), float64(streams)/took.Seconds(), text), err
}

// verdict compares the records of the client, of the origins and of the books.
func (c *http2Client) verdict(ctx context.Context, r *rig, arrived func(nonce uint64) uint32, died uint64) (string, error) {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.crossed > 0 || c.failed > 0 {
		fail("%d responses reached another request, %d are unexpected: %s", c.crossed, c.failed, strings.Join(c.wrong, "; "))
	}
	if c.gaveUp() { // the books have only some of the requests
		return fmt.Sprintf("gave up: crossed %d, unexpected %d", c.crossed, c.failed), errors.Join(errs...)
	}
	replays, repeats, aborted := 0, 0, 0
	for nonce := range c.nonces {
		if c.aborted[nonce] {
			aborted++
		}
		n := arrived(nonce)
		if n < 2 {
			continue
		}
		w, most := c.choose(nonce), uint32(2)
		if c.upstream(nonce) != "h1" {
			most = 4 // there are several shared connections, and each may have ended
		}
		if repeats++; w.method != "GET" && w.method != "HEAD" || n > most {
			replays++
			if len(c.wrong) < 10 {
				c.wrong = append(c.wrong, fmt.Sprintf("nonce %d (%s %s to %s) was processed %d times", nonce, w.method, w.kind, c.upstream(nonce), n))
			}
		}
	}
	if replays > 0 {
		fail("%d requests were replayed although they are not safe: %s", replays, strings.Join(c.wrong, "; "))
	}
	// When an origin's connection ends, the streams in progress on it also end, and a proxy must not repeat those requests that are not
	// safe.
	if excused := c.excused.Load(); excused > died*originStreams {
		fail("%d responses with 502, but only %d connections ended", excused, died)
	}
	missing, err := c.compareBooks(ctx, r)
	if err != nil {
		errs = append(errs, err)
	}
	text := fmt.Sprintf("%d connections, %d aborted by the client (%d of them before wayside had their header), %d origin connections cut (%d requests failed), "+
		"%d refused and repeated by the client, %d safe repeats, crossed %d, replays %d",
		c.dials.Load(), aborted, missing, died, c.excused.Load(), c.repeated.Load(), repeats, c.crossed, replays)
	return text, errors.Join(errs...)
}
