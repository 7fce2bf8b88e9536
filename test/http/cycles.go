package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wayside-proxy/wayside/internal/load"
)

const cycleClients = 16

// steady is a load that continues during restarts. Half of the load uses persistent connections; the other half uses a new connection for
// each request. If a connection cannot be opened, the client tries again. A request that was sent over an open connection counts as
// broken if it does not get a complete response.
type steady struct {
	addr     string
	http2    *http2Clients // nil for HTTP/1.1
	next     atomic.Uint64
	answered load.Bitmap
	sent     atomic.Uint64
	reload   atomic.Int64 // number of the last configuration that is in effect; 0 if the proof does not reload
	stop     chan struct{}
	workers  sync.WaitGroup

	mu       sync.Mutex
	broken   []error  // guarded by mu
	unsent   []uint64 // nonces of requests over HTTP/2 that wayside has not processed; guarded by mu
	repeated uint64   // number of nonces that were added to unsent; guarded by mu
}

func startSteady(r *rig) *steady {
	s := &steady{addr: r.wayside.Listen, http2: r.http2, stop: make(chan struct{})}
	work := s.work
	if s.http2 != nil {
		work = s.workHTTP2
	}
	for i := range cycleClients {
		s.workers.Go(func() { work(i%2 == 0) })
	}
	return s
}

func (s *steady) end() { close(s.stop); s.workers.Wait() }

func (s *steady) work(keep bool) {
	for !s.stopped() {
		conn, err := net.DialTimeout("tcp", s.addr, 3*time.Second)
		if err != nil {
			time.Sleep(5 * time.Millisecond) // between two processes, nothing is listening
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		s.use(conn, bufio.NewReader(conn), keep)
		_ = conn.Close()
	}
}

// use sends requests over one connection until wayside announces that it will close the connection. If keep is false, it sends only one
// request.
func (s *steady) use(conn net.Conn, br *bufio.Reader, keep bool) {
	for !s.stopped() {
		nonce := s.next.Add(1) - 1
		s.sent.Add(1)
		resp, err := s.once(conn, br, nonce) //nolint:bodyclose // once reads the body, and this client owns the connection
		if err != nil {
			s.mu.Lock()
			s.broken = append(s.broken, fmt.Errorf("nonce %d: %w", nonce, err))
			s.mu.Unlock()
			return
		}
		s.answered.Set(nonce)
		if resp.Close || !keep {
			return
		}
	}
}

func (s *steady) once(conn net.Conn, br *bufio.Reader, nonce uint64) (*http.Response, error) {
	reload := s.reload.Load()
	text := fmt.Sprintf("GET /n/%d HTTP/1.1\r\nHost: a\r\n\r\n", nonce)
	if nonce%5 == 0 {
		text = fmt.Sprintf("POST /n/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", nonce)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("/n/%d", nonce); err == nil && (resp.StatusCode != http.StatusOK || string(body) != want) {
		err = fmt.Errorf("%s with body %.60q", resp.Status, body)
	}
	if err == nil {
		err = olderThan(reload, resp.Header.Get("X-Reload"))
	}
	return resp, err
}

// olderThan returns an error if a response comes from an older configuration than the one that was in effect before its request.
func olderThan(reload int64, field string) error {
	if reload == 0 {
		return nil
	}
	if n, err := strconv.ParseInt(field, 10, 64); err != nil || n < reload {
		return fmt.Errorf("configuration %q was used although %d was in effect", field, reload)
	}
	return nil
}

// verdict compares the requests and the books.
func (s *steady) verdict(ctx context.Context, r *rig) (string, error) {
	var errs []error
	if len(s.broken) > 0 {
		errs = append(errs, fmt.Errorf("%d requests are broken, the first one: %w", len(s.broken), s.broken[0]))
	}
	books, accounting, err := r.books(ctx, nil)
	if err != nil {
		return "", errors.Join(append(errs, err)...)
	}
	lost, first := s.answered.Missing(&books.Nonces, 5)
	if lost > 0 || books.Doubled > 0 || accounting.DroppedTotal() > 0 {
		errs = append(errs, fmt.Errorf("%d events lost (%v), %d doubled, dropped %v", lost, first, books.Doubled, accounting.Dropped))
	}
	errs = append(errs, accounting.Check())
	text := fmt.Sprintf("%d requests, %d answered, %d broken, %d events lost, %d doubled", s.sent.Load(), s.answered.Count(), len(s.broken), lost, books.Doubled)
	if s.http2 != nil {
		text += fmt.Sprintf(", %d not processed and sent again", s.repeated)
	}
	return text, errors.Join(errs...)
}

func echoPath(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if strings.HasSuffix(req.URL.Path, "7") {
			time.Sleep(20 * time.Millisecond) // short enough for requests to be always in flight
		}
		w.Header().Set("X-Origin", name)
		_, _ = io.WriteString(w, req.URL.Path)
	}))
}

// origins starts two origins and returns their URLs. In a proof over HTTP/2, the second origin also speaks HTTP/2.
func (r *rig) origins() (urls [2]string, stop func(), err error) {
	one, two := echoPath("one"), echoPath("two")
	urls = [2]string{one.URL, two.URL}
	closeBoth := func() { one.Close(); two.Close() }
	if r.http2 == nil {
		return urls, closeBoth, nil
	}
	three, err := echoPathHTTP2()
	if err != nil {
		closeBoth()
		return urls, nil, err
	}
	urls[1] = three.URL()
	return urls, func() { closeBoth(); three.Stop() }, nil
}

// reloads changes the upstream under load many times, with SIGHUP and through the admin listener. No request may use an older configuration than
// the one that is in effect when it is sent. Every tenth configuration is invalid and must be rejected.
func reloads(ctx context.Context, r *rig, cycles int) (string, error) {
	origins, stop, err := r.origins()
	if err != nil {
		return "", err
	}
	defer stop()
	file := filepath.Join(r.dir, "wayside.yaml")
	write := func(i int) error {
		text := fmt.Sprintf("upstream: %s\nproxy:\n  response_fields:\n    set: [\"X-Reload: %d\"]\n", origins[i%2], i)
		if i%10 == 9 {
			text += "  no_such_key: 1\n"
		}
		return os.WriteFile(file, []byte(text), 0o600)
	}
	if err := write(0); err != nil {
		return "", err
	}
	r.args = append(r.args, "--config", file)
	if err := r.start(ctx, ""); err != nil {
		return "", err
	}
	s := startSteady(r)
	refused := 0
	for i := 1; i <= cycles && err == nil; i++ {
		if err = write(i); err != nil {
			break
		}
		bad, err2 := r.reload(ctx, i)
		if err2 != nil {
			err = err2
		}
		switch {
		case bad:
			refused++
		case err == nil:
			s.reload.Store(int64(i))
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.end()
	measured, verdict := s.verdict(ctx, r)
	return fmt.Sprintf("%d reloads (%d invalid configurations refused): %s", cycles, refused, measured), errors.Join(err, verdict)
}

// reload reloads the configuration and waits until it is in effect. It reports whether wayside rejected the configuration. wayside must
// reject an invalid one.
func (r *rig) reload(ctx context.Context, i int) (refused bool, err error) {
	broken := i%10 == 9
	if i%2 == 0 || broken {
		_, err := r.wayside.Ask(ctx, http.MethodPost, "/-/reload")
		if broken {
			if err == nil {
				return false, errors.New("an invalid configuration was accepted")
			}
			return true, nil
		}
		return false, err
	}
	if err := syscall.Kill(r.wayside.PID(), syscall.SIGHUP); err != nil {
		return false, err
	}
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(2 * time.Millisecond) {
		resp, err := r.probe(ctx)
		if err != nil {
			return false, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.Header.Get("X-Reload") == fmt.Sprint(i) {
			return false, nil
		}
	}
	return false, fmt.Errorf("reload %d by SIGHUP has no effect", i)
}

// probe sends a request over HTTP/1.1.
func (r *rig) probe(ctx context.Context) (*http.Response, error) {
	scheme, client := "http", http.DefaultClient
	if r.http2 != nil && r.http2.options.TLS != nil {
		scheme = "https"
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: r.http2.options.TLS, DisableKeepAlives: true}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.wayside.Listen+"/probe", nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// stops sends SIGTERM under load and restarts wayside with the same address and data, many times.
func stops(ctx context.Context, r *rig, cycles int) (string, error) {
	origins, stop, err := r.origins()
	if err != nil {
		return "", err
	}
	defer stop()
	if err := r.start(ctx, origins[1]); err != nil {
		return "", err
	}
	s := startSteady(r)
	done := 0
	for ; done < cycles && err == nil; done++ {
		before := s.answered.Count()
		for limit := time.Now().Add(10 * time.Second); s.answered.Count() < before+500 && time.Now().Before(limit); {
			time.Sleep(5 * time.Millisecond)
		}
		if err = r.wayside.Stop(40 * time.Second); err == nil {
			err = r.wayside.Start(ctx)
		}
	}
	s.end()
	if err != nil {
		return "", err
	}
	measured, verdict := s.verdict(ctx, r)
	return fmt.Sprintf("%d SIGTERMs: %s", done, measured), verdict
}
