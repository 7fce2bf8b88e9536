package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Bounds for responses that clients are still reading.
const (
	answerBytesMax = 8 << 20  // one response
	unreadBytesMax = 16 << 20 // all responses together

	writeTime        = 10 * time.Second // time allowed for a write, plus …
	writeBytesSecMin = 64 << 10         // … the time that the written bytes take at this rate
)

// outbox sends responses that have already been encoded completely. A client that does not read its response occupies only the memory of
// the response. The total of that memory is also bounded: if there is no room for a new response, the oldest ones are aborted.
type outbox struct {
	mu     sync.Mutex
	unread []*delivery // oldest first; guarded by mu
	bytes  int         // total size of unread; guarded by mu
}

// delivery is a response that is being written.
type delivery struct {
	to    *http.ResponseController
	bytes int
}

// encoded is a complete response. The zero value means that there is nothing to send, because the client has
// disconnected.
type encoded struct {
	status int
	kind   string // the Content-Type
	body   []byte
}

// send writes a response. It returns when the client has received the response, when the client has been too slow, or when newer
// responses have displaced this one.
func (o *outbox) send(w http.ResponseWriter, e encoded) {
	if e.status == 0 {
		return
	}
	d := &delivery{http.NewResponseController(w), len(e.body)}
	o.enter(d)
	defer o.leave(d)
	head := w.Header()
	head.Set("Content-Type", e.kind)
	head.Set("Content-Length", strconv.Itoa(len(e.body)))
	head.Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	if _, err := w.Write(e.body); err == nil { // otherwise the client has disconnected
		_ = d.to.Flush()
	}
}

// enter makes room for a response and adds it.
func (o *outbox) enter(d *delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.unread) > 0 && o.bytes+d.bytes > unreadBytesMax {
		oldest := o.unread[0]
		_ = oldest.to.SetWriteDeadline(time.Unix(1, 0)) // ends the write and the connection of the oldest response
		o.remove(oldest)
	}
	o.unread = append(o.unread, d)
	o.bytes += d.bytes
}

func (o *outbox) leave(d *delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remove(d)
}

// remove removes a response, unless enter has already removed it. The caller holds mu.
func (o *outbox) remove(d *delivery) {
	if i := slices.Index(o.unread, d); i >= 0 {
		o.unread = slices.Delete(o.unread, i, i+1)
		o.bytes -= d.bytes
	}
}

func encodeJSON(status int, v any) encoded {
	body, err := json.Marshal(v)
	switch {
	case err != nil: // cannot happen: parameters that cannot be encoded have already been rejected
		return encodeJSON(http.StatusInternalServerError, errorBody{"cannot encode the response: " + err.Error()})
	case len(body) > answerBytesMax:
		return encodeJSON(http.StatusBadRequest, errorBody{tooLarge})
	}
	return encoded{status, "application/json", append(body, '\n')}
}

func encodeCSV(t tabular) encoded {
	var body bytes.Buffer
	writeCSV(&body, t)
	if body.Len() > answerBytesMax {
		return encodeJSON(http.StatusBadRequest, errorBody{tooLarge})
	}
	return encoded{http.StatusOK, "text/csv; charset=utf-8; header=present", body.Bytes()}
}

// tooLarge is the error for a response of more than answerBytesMax.
var tooLarge = fmt.Sprintf("the response would be larger than %d MiB: use a lower limit, a shorter range or a longer step", answerBytesMax>>20)

// BoundWrites returns a listener that closes a connection if a write takes longer than ten seconds plus one second for each 64 KiB. The
// handler of this package must be served through it: otherwise, a client that does not read could hold memory for a long time. A deadline
// set by a handler applies only until the next write.
func BoundWrites(l net.Listener) net.Listener { return boundListener{l} }

type boundListener struct{ net.Listener }

func (l boundListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return boundConn{conn}, nil
}

type boundConn struct{ net.Conn }

func (c boundConn) Write(p []byte) (int, error) {
	most := writeTime + time.Duration(len(p))*time.Second/writeBytesSecMin
	if err := c.SetWriteDeadline(time.Now().Add(most)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
