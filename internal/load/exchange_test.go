package load

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRunTimesOut(t *testing.T) {
	release := make(chan struct{})
	address := startOrigin(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release) })
	report := mustRun(t, Options{Address: address, Connections: 1, Requests: 1, Timeout: time.Millisecond})
	if report.Failed[KindTimeout] != 1 {
		t.Errorf("report: %v", report)
	}
}

func TestRunAbandons(t *testing.T) {
	origin := &books{before: func(_ http.ResponseWriter, r *http.Request, nonce uint64) bool {
		if nonce%10 == 3 {
			<-r.Context().Done() // until the client has disconnected
		}
		return false
	}}
	var received Bitmap
	report := mustRun(t, Options{
		Address: startOrigin(t, origin), Connections: 4, Requests: 100, Received: &received,
		Request: func(nonce uint64, r *Request) {
			r.Path = Path(r.Path, nonce)
			if nonce%10 == 3 {
				r.AbandonAfter = 5 * time.Millisecond
			}
		},
	})
	if report.Abandoned != 10 || report.Completed != 90 || received.Has(13) || received.Count() != 90 {
		t.Errorf("report: %v", report)
	}
}

func TestRunBodiesAndMethods(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.Method {
		case "HEAD":
			w.Header().Set("Content-Length", "1000")
		case "DELETE":
			w.WriteHeader(http.StatusNoContent)
		case "GET":
			w.Header().Set("ETag", `"e"`)
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, big)
		default:
			fmt.Fprintf(w, "%s %d %s", r.Host, r.ContentLength, body)
		}
	})
	methods := []string{"GET", "HEAD", "POST", "DELETE", "PUT", "GET"}
	var bodies [6]string
	report := mustRun(t, Options{
		Address: startOrigin(t, origin), Host: "shop.example", Connections: 1, Requests: 6, BodyBytesMax: 1000,
		Request: func(nonce uint64, r *Request) {
			r.Method, r.Path = methods[nonce], append(r.Path, '/')
			if nonce == 2 {
				r.Body = append(r.Body, "hello"...)
			}
			if nonce == 5 {
				r.Header = append(r.Header, "If-None-Match: \"e\"\r\n"...)
			}
		},
		Verify: func(nonce uint64, r *Response) error {
			bodies[nonce] = string(r.Body)
			if nonce == 0 && (r.BodyBytes != int64(len(big)) || string(r.Get("etag")) != `"e"` || r.Get("none") != nil) {
				return errors.New("headers or length of the big body")
			}
			return nil
		},
	})
	if report.Completed != 6 || report.Dials != 1 {
		t.Errorf("report: %v, %d dials", report, report.Dials)
	}
	want := [6]string{big[:1000], "", "shop.example 5 hello", "", "shop.example 0 ", ""}
	if bodies != want {
		t.Errorf("bodies %.60q", bodies)
	}
}
