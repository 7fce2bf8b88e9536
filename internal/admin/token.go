package admin

import (
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/wayside-proxy/wayside/internal/connlimit"
)

// authorized checks the token if the request needs one. On the probes listener, and for /readyz?verbose, a client without a token gets a
// response without details. A request with a wrong token is rejected, unless it needs no token.
func (q *request) authorized() bool {
	if q.s.opt.Token == "" || q.path == "/livez" || q.path == "/readyz" && !q.verbose() {
		return true
	}
	given, ok := q.token()
	switch {
	case ok && sameToken(given, q.s.opt.Token):
		return true
	case ok:
		q.wrongToken()
		return false
	case q.probes || q.path == "/readyz":
		return true
	}
	q.askForToken("send the admin token as Authorization: Bearer TOKEN, or as the password of a browser's prompt")
	return false
}

// detailed reports whether the client may see details: it may if it sent the token, or if it uses the admin listener and no token is
// configured.
func (q *request) detailed() bool {
	if q.s.opt.Token == "" {
		return !q.probes
	}
	given, ok := q.token()
	return ok && sameToken(given, q.s.opt.Token)
}

func (q *request) askForToken(reason string) {
	resp := &q.ctx.Response
	resp.Header.Add("WWW-Authenticate", `Bearer realm="wayside"`)
	resp.Header.Add("WWW-Authenticate", `Basic realm="wayside: any name, the token as password", charset="UTF-8"`)
	refuse(resp, fasthttp.StatusUnauthorized, reason)
}

// token returns the token of the request, and whether it has one.
func (q *request) token() (given string, ok bool) {
	field := string(q.ctx.Request.Header.Peek("Authorization"))
	if field == "" {
		return "", false
	}
	scheme, value, _ := strings.Cut(field, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(value), true
	case strings.EqualFold(scheme, "Basic"): // browsers can send this; see ADR 36
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		_, password, found := strings.Cut(string(text), ":")
		if err == nil && found {
			return password, true
		}
	}
	return "", true
}

func sameToken(given, token string) bool {
	return given != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// wrongTokens counts and logs requests with a wrong token, and delays their responses.
type wrongTokens struct {
	delay time.Duration
	log   *slog.Logger
	count atomic.Uint64

	mu     sync.Mutex
	logged time.Time // guarded by mu
	at     uint64    // count at the last log line; guarded by mu
}

// wrongTokenLogEvery is the minimum time between two log lines about wrong tokens.
const wrongTokenLogEvery = 10 * time.Second

// wrongToken rejects the request after a delay and closes its connection. During the delay, the connection is among the first that
// are closed to make room for others.
func (q *request) wrongToken() {
	q.s.tokens.note(q.ctx.RemoteAddr())
	if c, ok := q.ctx.Conn().(*connlimit.Conn); ok {
		c.Yield(q.s.tokens.delay)
	}
	q.ctx.SetConnectionClose()
	q.askForToken("this is not the admin token")
}

func (w *wrongTokens) note(from net.Addr) {
	n := w.count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); w.logged.IsZero() || now.Sub(w.logged) >= wrongTokenLogEvery {
		w.log.Warn("refused a request to the admin listener: wrong token", "address", from.String(), "since_last_line", n-w.at)
		w.logged, w.at = now, n
	}
}
