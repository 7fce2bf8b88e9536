package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// canaries are secrets that no part of the books may store. Source addresses are canaries too, because wayside stores
// only masked addresses.
type canaries struct {
	words     []string
	addresses []string
}

// next returns a new secret for a part of a request.
func (c *canaries) next(place string) string {
	word := fmt.Sprintf("canary%02dx%sZq7", len(c.words), strings.ReplaceAll(place, "-", ""))
	c.words = append(c.words, word)
	return word
}

// requests sends thirty secrets in requests, and makes wayside itself respond with errors.
func (c *canaries) requests(t *testing.T, w *Wayside) {
	do := func(from, head, body string) {
		c.refuse(t, w, from, head, body)
	}
	for i := range 5 {
		do("", "GET /page?token="+c.next("query")+"&x=1 HTTP/1.1\r\nHost: shop\r\n", "")
		if i == 0 {
			do("", "GET /page?"+c.next("barequery")+" HTTP/1.1\r\nHost: shop\r\n", "")
		}
	}
	for _, name := range []string{"Authorization: Bearer ", "Proxy-Authorization: Basic ", "X-Api-Key: ", "Referer: http://a/?t=", "User-Agent: ", "X-Custom: ", "X-Forwarded-For: ", "X-Request-Id: ", "Traceparent: "} {
		do("", "GET /page HTTP/1.1\r\nHost: shop\r\n"+name+c.next("field")+"\r\n", "")
	}
	for range 3 {
		do("", "GET /page HTTP/1.1\r\nHost: shop\r\nCookie: session="+c.next("cookie")+"; a=b\r\n", "")
	}
	for range 3 {
		body := "password=" + c.next("body")
		do("", fmt.Sprintf("POST /login HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n", len(body)), body)
	}
	chunk := c.next("chunk")
	do("", "POST /login HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(chunk), chunk))
	for i := range 4 {
		address := fmt.Sprintf("127.%d.%d.%d", 101+i, 113+i, 177+i)
		c.addresses = append(c.addresses, address)
		do(address, "GET /page HTTP/1.1\r\nHost: shop\r\n", "")
	}
	// wayside itself rejects these because of framing, header size or version.
	do("", "GET /page?"+c.next("refusedquery")+" HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nX-Secret: "+c.next("refusedfield")+"\r\n", "")
	do("", "GET /page HTTP/1.1\r\nHost: shop\r\nCookie: "+c.next("refusedcookie")+strings.Repeat("x", 64<<10)+"\r\n", "")
	do("", "GET /page?"+c.next("badline")+" HTTP/9.9\r\nHost: shop\r\n", "")
}

// refuse sends a request, and searches the response for the secrets if wayside generated it.
func (c *canaries) refuse(t *testing.T, w *Wayside, from, head, body string) {
	t.Helper()
	status, answer := sendRaw(t, w.Listen, from, head+"Connection: close\r\n\r\n"+body)
	if status != http.StatusOK {
		c.scan(t, fmt.Sprintf("error page %d", status), []byte(answer))
	}
}

func (c *canaries) scan(t *testing.T, where string, text []byte) {
	t.Helper()
	for _, secret := range append(append([]string(nil), c.words...), c.addresses...) {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s contains the secret %q", where, secret)
		}
	}
}

// scanFiles searches every byte of every file, including the unpacked bytes of compressed files. It must find the
// marker, because the books contain the marker; otherwise the search would prove nothing.
func (c *canaries) scanFiles(t *testing.T, what, dir, marker string) {
	t.Helper()
	found, files := false, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if strings.HasSuffix(path, ".gz") {
			unzipped, err := gzip.NewReader(bytes.NewReader(text))
			if err != nil {
				return err
			}
			plain, err := io.ReadAll(unzipped)
			if err != nil {
				return err
			}
			text = append(text, plain...)
		}
		found = found || bytes.Contains(text, []byte(marker))
		c.scan(t, what+" "+filepath.Base(path), text)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if marker != "" && !found {
		t.Errorf("%s: none of %d files contains the marker, so the search proves nothing", what, files)
	}
}

// TestSecretsAreNowhere sends secrets in all parts of requests and responses, and searches spool, store, archive, API, metrics
// and log for them.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	var c canaries
	setCookie, answered := c.next("setcookie"), c.next("response")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Set-Cookie", "session="+setCookie)
		w.Header().Set("X-Answer", answered)
		_, _ = io.WriteString(w, answered)
	}))
	t.Cleanup(server.Close)
	w, log := newWayside(t, server.URL, "--log-level", "debug")
	const marker = "/marker-that-is-kept"
	start(t, w)
	signalBooks(t, w, syscall.SIGSTOP) // so that everything is still in the spool when the test searches it
	c.requests(t, w)
	sendRaw(t, w.Listen, "", "GET "+marker+" HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	if n := len(c.words) + len(c.addresses); n < 30 {
		t.Fatalf("only %d secrets", n)
	}
	c.scanFiles(t, "spool", filepath.Join(w.DataDir, "spool"), marker)
	signalBooks(t, w, syscall.SIGCONT)
	if _, err := w.AwaitSettled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ask(t.Context(), http.MethodPost, "/-/job/archive?all=true"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/snapshot", "/api/v1/events?limit=1000", "/api/v1/paths", "/api/v1/archives", "/metrics", "/readyz?verbose", "/api/v1/recent"} {
		body, err := w.Ask(t.Context(), http.MethodGet, path)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(path, "events") && !bytes.Contains(body, []byte(marker)) {
			t.Error("the events do not show the marker")
		}
		c.scan(t, path, body)
	}
	c.scanFiles(t, "store", filepath.Join(w.DataDir, "store"), "")
	c.scanFiles(t, "archive", filepath.Join(w.DataDir, "archive"), marker)
	c.scanFiles(t, "data directory", w.DataDir, marker)
	c.scan(t, "log", []byte(log.String()))
	server.Close() // now wayside itself responds with an error page
	c.refuse(t, w, "", "GET /page?"+c.next("lateQuery")+" HTTP/1.1\r\nHost: shop\r\nCookie: "+c.next("lateCookie")+"\r\n", "")
	c.scan(t, "log", []byte(log.String()))
}
