package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/wayside-proxy/wayside/internal/event"
)

// TestGRPCWeb: calls of gRPC-Web pass unchanged over both versions of HTTP. Their status is in the body, which is not read, so none is recorded.
func TestGRPCWeb(t *testing.T) {
	const contentType = "application/grpc-web+proto"
	message := []byte("\x00\x00\x00\x00\x03\x0a\x01\xff")
	trailers := []byte("\x80\x00\x00\x00\x0fgrpc-status:0\r\n")
	b := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Type") != contentType || r.Header.Get("X-Grpc-Web") != "1" || !bytes.Equal(body, message) {
			http.Error(w, fmt.Sprint(r.Header, body), http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(message)
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(trailers)
	}), nil)
	b.responses = 2
	one := &http.Transport{}
	if b.tls {
		one.TLSClientConfig = testCertificates(t).client
	}
	t.Cleanup(one.CloseIdleConnections)
	for i, test := range []struct {
		c     *http.Client
		proto string
	}{{b.h2(), "http"}, {&http.Client{Transport: one}, b.proto()}} {
		r, _ := http.NewRequest("POST", test.proto+"://"+b.addr+"/pkg.Service/Method", bytes.NewReader(message))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Grpc-Web", "1")
		resp, err := test.c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if want := append(bytes.Clone(message), trailers...); err != nil || resp.ProtoMajor != 2-i || resp.StatusCode != 200 ||
			resp.Header.Get("Content-Type") != contentType || !bytes.Equal(got, want) {
			t.Error(resp, got, err)
		}
		e := b.books.wait(t, i+1)[i]
		if e.GRPCStatus != event.GRPCAbsent || e.Status != 200 || string(e.Path) != "/pkg.Service/Method" {
			t.Errorf("%+v", e)
		}
	}
}
