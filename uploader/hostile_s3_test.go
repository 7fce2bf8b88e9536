package uploader

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostile is a proxy in front of a real S3 server, over real connections, that treats requests as real networks,
// gateways and servers have been seen to do.
type hostile struct {
	next *httputil.ReverseProxy

	mu    sync.Mutex
	fault fault // guarded by mu; nil passes everything on
	wait  sync.WaitGroup
	seen  atomic.Int64 // number of requests that the fault has affected
}

// fault answers a request itself, or passes it to the server by calling pass.
type fault func(w http.ResponseWriter, r *http.Request, pass http.Handler)

func (h *hostile) set(f fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
	h.seen.Store(0)
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	f := h.fault
	h.mu.Unlock()
	if f == nil {
		h.next.ServeHTTP(w, r)
		return
	}
	f(w, r, h.next)
}

func newHostile(t *testing.T, upstream string) *hostile {
	t.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	t.Cleanup(transport.CloseIdleConnections)
	h := &hostile{next: &httputil.ReverseProxy{
		// The signature covers Host, so it must stay as the client sent it.
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host, pr.Out.Host = to.Scheme, to.Host, pr.In.Host
		},
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
	}}
	t.Cleanup(h.wait.Wait)
	return h
}

func hostileBucket(t *testing.T) (place, *hostile) {
	t.Helper()
	s := s3Server(t)
	h := newHostile(t, s.Endpoint)
	server := httptest.NewServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(server.Close)
	return bucketOf(t, s, server.URL), h
}

// puts returns a fault that affects only uploads.
func puts(f fault) fault {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method != http.MethodPut {
			pass.ServeHTTP(w, r)
			return
		}
		f(w, r, pass)
	}
}

func answer(status int, code string) fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<?xml version=\"1.0\"?><Error><Code>"+code+"</Code><Message>made up</Message></Error>")
	}
}

// unseen passes a request to the server and drops the response.
func unseen(r *http.Request, pass http.Handler) { pass.ServeHTTP(httptest.NewRecorder(), r) }

// detached copies a request, so that it continues after its client has disconnected.
func detached(r *http.Request) *http.Request {
	body, _ := io.ReadAll(r.Body)
	c := r.Clone(context.WithoutCancel(r.Context()))
	c.Body, c.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return c
}

// reset closes the connection with an RST.
func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// TestHostileServers archives in spite of each fault. During the fault, nothing counts as archived that is not in the
// archive, and the error is helpful. Afterwards the same plan is finished, and every event is in the archive once.
func TestHostileServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(h *hostile) fault
		// With archived set, the first attempt succeeds. Otherwise it fails with an error that contains hint.
		archived bool
		hint     string
	}{
		{name: "501 to checksums", archived: true, fault: func(h *hostile) fault {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				for name := range r.Header {
					if strings.Contains(strings.ToLower(name), "checksum") || name == "X-Amz-Trailer" || strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING") {
						h.seen.Add(1)
						answer(http.StatusNotImplemented, "NotImplemented")(w, r, pass)
						return
					}
				}
				pass.ServeHTTP(w, r)
			}
		}},
		{name: "501 to If-None-Match", archived: true, fault: func(*hostile) fault {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Header.Get("If-None-Match") != "" {
					answer(http.StatusNotImplemented, "NotImplemented")(w, r, pass)
					return
				}
				pass.ServeHTTP(w, r)
			}
		}},
		{name: "412 though nothing is there", archived: true, fault: func(*hostile) fault {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Header.Get("If-None-Match") != "" {
					answer(http.StatusPreconditionFailed, "PreconditionFailed")(w, r, pass)
					return
				}
				pass.ServeHTTP(w, r)
			}
		}},
		{name: "503, and the object appears", hint: "503", fault: func(*hostile) fault {
			return puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				unseen(r, pass)
				answer(http.StatusServiceUnavailable, "SlowDown")(w, r, pass)
			})
		}},
		{name: "503, and the object appears later", hint: "503", fault: func(h *hostile) fault {
			return puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				late := detached(r)
				h.wait.Go(func() {
					time.Sleep(20 * time.Millisecond)
					unseen(late, pass)
				})
				answer(http.StatusServiceUnavailable, "SlowDown")(w, r, pass)
			})
		}},
		{name: "a PUT of which only half arrives is acknowledged", hint: "", fault: func(*hostile) fault {
			return puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
				w.WriteHeader(http.StatusOK)
			})
		}},
		{name: "301 to another region", hint: "region=", fault: func(*hostile) fault { return answer(http.StatusMovedPermanently, "PermanentRedirect") }},
		{name: "403 clock skew", hint: "clock", fault: func(*hostile) fault { return answer(http.StatusForbidden, "RequestTimeTooSkewed") }},
		{name: "reset after the body", archived: true, fault: func(*hostile) fault {
			return puts(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				unseen(r, pass)
				reset(w)
			})
		}},
		{name: "reset after the body, which is lost", hint: "", fault: func(*hostile) fault {
			return puts(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = io.Copy(io.Discard, r.Body)
				reset(w)
			})
		}},
		{name: "read-back differs", hint: "does not read back as written", fault: func(*hostile) fault {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Method != http.MethodGet {
					pass.ServeHTTP(w, r)
					return
				}
				rec := httptest.NewRecorder()
				pass.ServeHTTP(rec, r)
				body := rec.Body.Bytes()
				if len(body) > 0 {
					body[len(body)/2] ^= 1
				}
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(body)
			}
		}},
		{name: "slow to a crawl", hint: "deadline exceeded", fault: func(*hostile) fault {
			return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.Method != http.MethodGet {
					pass.ServeHTTP(w, r)
					return
				}
				// Send a byte now and then, for longer than the timeout.
				rec := httptest.NewRecorder()
				pass.ServeHTTP(rec, r)
				for k, v := range rec.Header() {
					w.Header()[k] = v
				}
				w.WriteHeader(rec.Code)
				for _, b := range rec.Body.Bytes() {
					if r.Context().Err() != nil {
						return
					}
					_, _ = w.Write([]byte{b})
					_ = http.NewResponseController(w).Flush()
					time.Sleep(10 * time.Millisecond)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, h := hostileBucket(t)
			m := newMemStore(t)
			items := traffic(600, testHour, 1, false)
			m.apply(testEpoch, testHour, 500, items...)
			timeout := 20 * time.Second
			if c.name == "slow to a crawl" {
				timeout = 300 * time.Millisecond
			}
			u, clk := newTest(t, m, p, func(o *Options) { o.ObjectBytes, o.RequestTimeout = 1<<20, timeout })
			h.set(c.fault(h))
			r, err := u.ArchiveOnce(t.Context(), true)
			switch {
			case c.archived && (err != nil || r.Rows != 600):
				t.Fatalf("not archived: %+v, %v", r, err)
			case !c.archived && (err == nil || m.archived != 0 || !strings.Contains(err.Error(), c.hint)):
				t.Fatalf("%d archived, error is %v, want one about %q", m.archived, err, c.hint)
			}
			if h.seen.Load() > 0 {
				t.Errorf("%d requests carry checksums", h.seen.Load())
			}
			h.set(nil)
			h.wait.Wait() // wait until late uploads have arrived
			if !c.archived {
				if r, err = u.ArchiveOnce(t.Context(), true); err != nil || r.Resumed != 1 || r.Rows != 600 {
					t.Fatalf("after the fault: %+v, %v", r, err)
				}
			}
			wantArchived(t, p, items)
			clk.advance(80 * time.Hour)
			if r, err := u.CleanOnce(t.Context()); err != nil || r.Rows != 600 || m.blocksLeft() != 0 {
				t.Fatalf("retention: %+v, %v", r, err)
			}
		})
	}
}
