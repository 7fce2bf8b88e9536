package difftest

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// scenario is what the client sends, and how the origin responds.
type scenario struct {
	name   string
	send   []string // the pieces to send; one that begins with "<" is instead a text to wait for in the response
	answer string   // the origin's response; empty means 200 with "ok"
	expect string   // the origin's response to Expect: 100-continue before it reads the body; empty means 100
	after  string   // what happens to the connection after the response: empty (it is kept), "close" or "reset"
	early  bool     // the origin responds without reading the body
	last   bool     // no request follows on the connection
	form   bool     // the order and the spelling of the fields are compared, too
	keep   []string // noise fields that are compared anyway
}

// okAnswer is the origin's default response. Every response from the origin has X-Origin.
const okAnswer = "HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Length: 2\r\n\r\nok"

// recording is an origin that records the messages that it receives, and responds as the scenario says.
type recording interface {
	play(s scenario)
	received() []*message
	addr() string
}

// recorded is the state of a recording.
type recorded struct {
	mu       sync.Mutex
	playing  scenario   // guarded by mu
	number   int        // of the scenario; guarded by mu
	requests []*message // guarded by mu
}

// recorder is the origin behind one proxy.
type recorder struct {
	recorded
	ln    net.Listener
	conns map[net.Conn]struct{} // guarded by mu
}

func (r *recorder) addr() string { return r.ln.Addr().String() }

func newRecorder(t *testing.T) *recorder {
	r := &recorder{ln: listen(t), conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			conn, err := r.ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = struct{}{}
			r.mu.Unlock()
			go r.serve(conn)
		}
	}()
	t.Cleanup(func() {
		_ = r.ln.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		for conn := range r.conns {
			_ = conn.Close()
		}
	})
	return r
}

// play sets the scenario, and discards the requests of the previous one.
func (r *recorded) play(s scenario) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.playing, r.requests = s, nil
	r.number++
}

func (r *recorded) received() []*message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*message(nil), r.requests...)
}

// current returns the scenario for a request with this line, and its number.
func (r *recorded) current(line string) (s scenario, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(line, " /end ") {
		return scenario{}, r.number
	}
	return r.playing, r.number
}

// add adds a request, unless the scenario in which it began is over: a proxy may give up a request and pass it on nevertheless.
func (r *recorded) add(m *message, number int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number == r.number {
		r.requests = append(r.requests, m)
	}
}

func (r *recorder) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		r.mu.Lock()
		delete(r.conns, conn)
		r.mu.Unlock()
	}()
	br := bufio.NewReaderSize(conn, 1<<16)
	for {
		m, err := readHead(br)
		if err != nil {
			return
		}
		s, number := r.current(m.line)
		if !r.exchange(conn, br, m, s, number) {
			return
		}
	}
}

// exchange serves one request. It reports whether the connection stays open.
func (r *recorder) exchange(conn net.Conn, br *bufio.Reader, m *message, s scenario, number int) bool {
	answer := s.answer
	if answer == "" {
		answer = okAnswer
	}
	if v, _ := m.value("Expect"); strings.EqualFold(v, "100-continue") && s.expect != "final" {
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
	}
	if !s.early && s.expect != "final" {
		m.readBody(br, false)
	}
	if m.end != "" {
		return false // an incomplete request does not count
	}
	r.add(m, number)
	if _, err := io.WriteString(conn, answer); err != nil {
		return false
	}
	if s.early || s.expect == "final" {
		if half, ok := conn.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, br)
		return false
	}
	if s.after == "reset" {
		if tcp, ok := conn.(*net.TCPConn); ok {
			// The bytes that were sent must arrive before the reset, or else the proxy has no chance to read them.
			time.Sleep(30 * time.Millisecond)
			_ = tcp.SetLinger(0)
		}
	}
	return s.after == ""
}

// response is a response that the client received, with the 1xx responses before it.
type response struct {
	*message
	interim []string
}

func (r *response) status() string {
	_, code, _ := strings.Cut(r.line, " ")
	code, _, _ = strings.Cut(code, " ")
	return strings.Join(append(r.interim, code), " ")
}

// talk is the client: it sends the pieces and returns the responses. It notes the methods of the requests, because they determine whether a
// response has a body.
func talk(t *testing.T, addr string, s scenario) []*response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // a few scenarios end only by it; on a busy machine, others take seconds
	br := bufio.NewReaderSize(conn, 1<<16)
	var methods []string
	pieces := s.send
	if !s.last {
		pieces = append(pieces[:len(pieces):len(pieces)], "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
	for _, piece := range pieces {
		if wait, ok := strings.CutPrefix(piece, "<"); ok {
			waitFor(br, wait)
			continue
		}
		_, _ = io.WriteString(conn, piece)
		for _, line := range strings.SplitAfter(piece, "\n") {
			if strings.Contains(line, " HTTP/") {
				method, _, _ := strings.Cut(line, " ")
				methods = append(methods, method)
			}
		}
	}
	return readAll(br, methods)
}

// waitFor returns when the text has arrived, or when nothing more arrives.
func waitFor(br *bufio.Reader, text string) {
	for n := 1; ; n = br.Buffered() + 1 {
		if _, err := br.Peek(n); err != nil {
			return
		}
		if b, _ := br.Peek(br.Buffered()); strings.Contains(string(b), text) {
			return
		}
	}
}

// readAll reads responses until the connection ends.
func readAll(br *bufio.Reader, methods []string) []*response {
	var all []*response
	for {
		r := &response{}
		for {
			m, err := readHead(br)
			if err != nil {
				broken := &message{}
				broken.broken(err)
				if len(r.interim) > 0 || broken.end != "cut" {
					all = append(all, &response{broken, r.interim})
				}
				return all
			}
			r.message = m
			if code := r.code(); len(code) != 3 || code[0] != '1' {
				break
			}
			r.interim = append(r.interim, r.code())
		}
		method := ""
		if len(all) < len(methods) {
			method = methods[len(all)]
		}
		all = append(all, r)
		if code := r.code(); method == "HEAD" || code == "204" || code == "304" {
			r.framing = "none"
			for _, name := range []string{"Content-Length", "Transfer-Encoding"} {
				if v, ok := r.value(name); ok {
					r.framing = "none, announced " + v
				}
			}
			continue
		}
		r.readBody(br, true)
		if r.end != "" || r.framing == "close" {
			return all
		}
	}
}

func (m *message) code() string {
	_, code, _ := strings.Cut(m.line, " ")
	code, _, _ = strings.Cut(code, " ")
	return code
}
