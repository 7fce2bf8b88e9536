package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/wayside-proxy/wayside/internal/certtest"
)

// edgeService is a service behind wayside. Its responses have its address on the page, and show the request.
type edgeService struct {
	server   *httptest.Server
	address  string
	requests atomic.Int64 // without health checks
}

func startEdgeService(e *edge, page string) *edgeService {
	e.Helper()
	s := &edgeService{}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			return
		}
		s.requests.Add(1)
		w.Header().Set("X-Service", page)
		switch r.URL.Path {
		case "/socket":
			echoSocket(w, r)
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: one\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprintf(w, "%s %s with %d bytes\nHost: %s\n", r.Method, r.URL.Path, n, r.Host)
			_ = r.Header.Write(w)
		}
	}))
	if strings.HasSuffix(page, ":8443") {
		own := e.ca.Issue(e.T, certtest.Leaf{Names: []string{"orders.internal"}})
		s.server.TLS = &tls.Config{Certificates: []tls.Certificate{own.TLS}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: e.ca.Pool()}
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	s.address = s.server.Listener.Addr().String()
	e.Cleanup(s.server.Close)
	return s
}

// echoSocket returns one message to the client, and waits until it closes the WebSocket.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	if kind, message, err := conn.Read(r.Context()); err == nil {
		_ = conn.Write(r.Context(), kind, message)
		_, _, _ = conn.Read(r.Context())
	}
}
