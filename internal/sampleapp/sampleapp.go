// Package sampleapp is a small web shop that serves as the upstream in the demo and in tests.
//
// Its only state is a set of counters. Its responses depend only on the seed and the request, with one exception: whether the n-th
// payment fails depends on the seed and n. So the number of failures among N payments is the same in each run, whatever the order in
// which they arrive.
//
//	GET, HEAD  /                          page of 2 KiB with an ETag; 304 if the client has it
//	GET, HEAD  /assets/app.js             script of 24 KiB, likewise
//	GET        /users/{id}                profile; ids above UsersMax are 404
//	PUT        /users/{id}                echoes the body's length
//	GET        /users/{id}/orders/{uuid}  order; DELETE responds with 204
//	POST       /orders                    201 with a Location
//	POST       /payments                  201; one in 20 responses is 500
//	GET        /flaky                     always 503
//	GET        /reports/{id}              takes 20 to 120 ms
//	GET        /export                    CSV of 64 KiB, chunked, flushed in 16 parts
//	GET        /events                    server-sent events: five, 10 ms apart, then the end
//	GET        /live/{id}                 responds after 200 ms, for clients that disconnect before that
//	GET, HEAD  /downloads/catalogue.pdf   256 KiB with a Content-Length
//
// Anything else is 404, and a wrong method is 405.
package sampleapp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Sizes and limits of the responses.
const (
	UsersMax      = 5000      // the largest user id
	DownloadBytes = 256 << 10 // body of /downloads/catalogue.pdf
	ExportBytes   = 64 << 10  // body of /export
	EventCount    = 5         // number of events of /events

	exportParts  = 16
	eventPause   = 10 * time.Millisecond
	reportMin    = 20 * time.Millisecond
	reportSpread = 101 // milliseconds: 20 to 120
	liveWait     = 200 * time.Millisecond
	paymentFails = 20 // one payment in this many fails
	orderMax     = 64 << 10
)

// Options configure the app. The zero value is valid.
type Options struct {
	Seed uint64

	// Sleep waits for d or until ctx is done. nil means a real wait; tests set Sleep to make slow routes fast.
	Sleep func(ctx context.Context, d time.Duration)
}

type app struct {
	Options
	page, script, download []byte
	payments               atomic.Uint64 // number of payments so far
}

// New returns the app. It starts no goroutines.
func New(o Options) http.Handler {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	a := &app{
		Options:  o,
		page:     filler("<!doctype html><title>The corner shop</title>\n", "<p>Fresh every morning.</p>\n", 2<<10),
		script:   filler("'use strict';\n", "export const price = n => (n / 100).toFixed(2);\n", 24<<10),
		download: filler("%PDF-1.4\n", "catalogue of the corner shop ", DownloadBytes),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.static("text/html; charset=utf-8", a.page))
	mux.HandleFunc("GET /assets/app.js", a.static("text/javascript", a.script))
	mux.HandleFunc("GET /downloads/catalogue.pdf", a.static("application/pdf", a.download))
	mux.HandleFunc("GET /users/{id}", a.user)
	mux.HandleFunc("PUT /users/{id}", a.updateUser)
	mux.HandleFunc("GET /users/{id}/orders/{order}", a.order)
	mux.HandleFunc("DELETE /users/{id}/orders/{order}", a.deleteOrder)
	mux.HandleFunc("POST /orders", a.createOrder)
	mux.HandleFunc("POST /payments", a.pay)
	mux.HandleFunc("GET /flaky", a.flaky)
	mux.HandleFunc("GET /reports/{id}", a.report)
	mux.HandleFunc("GET /live/{id}", a.live)
	mux.HandleFunc("GET /export", a.export)
	mux.HandleFunc("GET /events", a.events)
	return mux
}

// Start serves the app on a free loopback port until stop is called. stop waits until all requests have ended.
func Start(o Options) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("sample app: %w", err)
	}
	server := &http.Server{Handler: New(o), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with the shutdown below
	}()
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			_ = server.Close()
		}
		<-done
	}
	return "http://" + listener.Addr().String(), stop, nil
}

func (a *app) static(contentType string, body []byte) http.HandlerFunc {
	etag := fmt.Sprintf(`"%x"`, hash(0, string(body)))
	length := strconv.Itoa(len(body))
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", length)
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	}
}

func (a *app) user(w http.ResponseWriter, r *http.Request) {
	id, ok := userID(w, r)
	if !ok {
		return
	}
	h := hash(a.Seed, "user", strconv.Itoa(id))
	writeJSON(w, http.StatusOK, fmt.Sprintf(`{"id":%d,"name":"user %d","points":%d,"notes":%q}`,
		id, id, h%10_000, strings.Repeat("x", int(h>>32%400))))
}

func (a *app) updateUser(w http.ResponseWriter, r *http.Request) {
	id, ok := userID(w, r)
	if !ok {
		return
	}
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, orderMax))
	if err != nil {
		http.Error(w, "body too large or incomplete", http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, fmt.Sprintf(`{"id":%d,"bytes":%d}`, id, n))
}

func (a *app) order(w http.ResponseWriter, r *http.Request) {
	id, ok := userID(w, r)
	if !ok {
		return
	}
	total := hash(a.Seed, "order", r.PathValue("order")) % 50_000
	writeJSON(w, http.StatusOK, fmt.Sprintf(`{"user":%d,"order":%q,"total":%d}`, id, r.PathValue("order"), total))
}

func (a *app) deleteOrder(w http.ResponseWriter, r *http.Request) {
	if _, ok := userID(w, r); ok {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *app) createOrder(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, orderMax))
	if err != nil {
		http.Error(w, "body too large or incomplete", http.StatusBadRequest)
		return
	}
	number := hash(a.Seed, "created", string(body))
	w.Header().Set("Location", fmt.Sprintf("/orders/%016x", number))
	writeJSON(w, http.StatusCreated, fmt.Sprintf(`{"order":"%016x","bytes":%d}`, number, len(body)))
}

func (a *app) pay(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, orderMax))
	n := a.payments.Add(1)
	if hash(a.Seed, "payment", strconv.FormatUint(n, 10))%paymentFails == 0 {
		writeJSON(w, http.StatusInternalServerError, `{"error":"the bank did not answer"}`)
		return
	}
	writeJSON(w, http.StatusCreated, `{"paid":true}`)
}

func (a *app) flaky(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	writeJSON(w, http.StatusServiceUnavailable, `{"error":"try again"}`)
}

func (a *app) report(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	a.Sleep(r.Context(), reportMin+time.Duration(hash(a.Seed, "report", id)%reportSpread)*time.Millisecond)
	writeJSON(w, http.StatusOK, fmt.Sprintf(`{"report":%q,"rows":%d}`, id, hash(a.Seed, "rows", id)%1000))
}

func (a *app) live(w http.ResponseWriter, r *http.Request) {
	a.Sleep(r.Context(), liveWait)
	writeJSON(w, http.StatusOK, `{"goals":0}`)
}

func (a *app) export(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/csv")
	part := filler("", "2026-01-01,order,19.90\n", ExportBytes/exportParts)
	flusher := http.NewResponseController(w)
	for range exportParts {
		if _, err := w.Write(part); err != nil {
			return
		}
		_ = flusher.Flush()
	}
}

func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	for i := range EventCount {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"stock\":%d}\n\n", i, hash(a.Seed, "stock", strconv.Itoa(i))%100); err != nil {
			return
		}
		_ = flusher.Flush()
		a.Sleep(r.Context(), eventPause)
	}
}

// userID returns the user id in the path. If there is no such user, it responds with 404.
func userID(w http.ResponseWriter, r *http.Request) (id int, ok bool) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > UsersMax {
		http.NotFound(w, r)
		return 0, false
	}
	return id, true
}

func writeJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hash maps the parts uniformly to 64 bits, in the same way in each process.
func hash(seed uint64, parts ...string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, seed))
	for _, p := range parts {
		_, _ = io.WriteString(h, p)
		_, _ = h.Write([]byte{0})
	}
	x := h.Sum64() // the low bits of FNV are weak; a multiplication and a shift improve them
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// filler returns head followed by repetitions of unit, truncated to exactly n bytes.
func filler(head, unit string, n int) []byte {
	b := append(make([]byte, 0, n+len(unit)), head...)
	for len(b) < n {
		b = append(b, unit...)
	}
	return b[:n]
}
