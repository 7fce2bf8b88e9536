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

// authorized asks for the token where it is needed. On the probes listener, and for /readyz, it is needed for details only; what
// a client cannot show for is then left out of the answer. A wrong token is refused wherever one would matter.
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

// detailed reports whether the client may see more than everyone: on the admin listener where no token is set, and with the token.
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

// token returns the token that the request has, and whether it has any.
func (q *request) token() (given string, ok bool) {
	field := string(q.ctx.Request.Header.Peek("Authorization"))
	if field == "" {
		return "", false
	}
	scheme, value, _ := strings.Cut(field, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return strings.TrimSpace(value), true
	case strings.EqualFold(scheme, "Basic"): // what a browser can send by itself; see ADR 36
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

// wrongTokens counts requests with a wrong token, and slows down who guesses.
type wrongTokens struct {
	delay time.Duration
	log   *slog.Logger
	count atomic.Uint64

	mu     sync.Mutex
	logged time.Time // guarded by mu
	at     uint64    // count when it was last logged; guarded by mu
}

// wrongTokenLogEvery is the least time between two lines about wrong tokens.
const wrongTokenLogEvery = 10 * time.Second

// wrongToken refuses the request after a while, in which its connection is the first to give way to others, and closes it.
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
		w.log.Warn("a request to the admin endpoint had a wrong token", "address", from.String(), "since_last_line", n-w.at)
		w.logged, w.at = now, n
	}
}
