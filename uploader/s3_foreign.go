package uploader

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"unicode"
)

// s3Only passes on responses that an S3 server can have sent, and turns all others into an error before they are parsed. If a web server,
// a login page or a proxy responds at the endpoint, the error must say so, and the text of that response must not get into the log.
type s3Only struct{ next http.RoundTripper }

// foreignError describes, in one line, a response that no S3 server sends.
type foreignError struct{ text, hint string }

func (e *foreignError) Error() string { return e.text }

// hintNotFound is for a 404 that is not about a missing object.
const hintNotFound = "check AWS_ACCESS_KEY_ID, endpoint=, the bucket and path_style="

// RoundTrip implements http.RoundTripper.
func (t s3Only) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		if r.Context().Err() == nil && notHTTP(err) {
			err = &foreignError{r.URL.Scheme + "://" + r.URL.Host + " does not speak HTTP", "check endpoint="}
		}
		return nil, err
	}
	begin := peek(resp)
	if why := foreign(r, resp, begin); why != nil {
		_ = resp.Body.Close()
		return nil, why
	}
	return resp, nil
}

// peekBytes is the number of bytes of a response that are examined.
const peekBytes = 512

// peek returns the beginning of a response without consuming it. It does not examine objects, which may begin with
// anything.
func peek(resp *http.Response) []byte {
	if resp.StatusCode/100 == 2 && resp.Header.Get("Etag") != "" || resp.Body == http.NoBody {
		return nil
	}
	buffered := bufio.NewReaderSize(resp.Body, peekBytes)
	begin, _ := buffered.Peek(peekBytes) // the next reader also gets any error
	resp.Body = struct {
		io.Reader
		io.Closer
	}{buffered, resp.Body}
	return bytes.TrimSpace(bytes.TrimPrefix(begin, []byte("\xef\xbb\xbf")))
}

// foreign returns the reason why a response cannot come from an S3 server, or nil if it can.
func foreign(r *http.Request, resp *http.Response, begin []byte) *foreignError {
	server := r.URL.Scheme + "://" + r.URL.Host
	xml := bytes.HasPrefix(begin, []byte("<")) && !isHTML(begin)
	html := strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html") && !xml
	head, ok := r.Method == http.MethodHead, resp.StatusCode/100 == 2
	list := r.Method == http.MethodGet && r.URL.Query().Has("list-type")
	switch {
	case html, isHTML(begin):
	case ok && list && !bytes.Contains(begin, []byte("<ListBucketResult")): // any other XML would be mistaken for an empty list
	case ok && !list && r.Method == http.MethodPut && resp.Header.Get("Etag") == "":
	case ok && !list && (head || r.Method == http.MethodGet) && resp.Header.Get("Last-Modified") == "":
	case !ok && !head && len(begin) > 0 && !xml:
	case resp.StatusCode == http.StatusNotFound && !head && len(begin) == 0:
		return &foreignError{server + " responded with HTTP 404 without saying what is missing", hintNotFound}
	default:
		return nil
	}
	e := &foreignError{fmt.Sprintf("%s does not speak S3: HTTP %d", server, resp.StatusCode), "check endpoint="}
	if t := resp.Header.Get("Content-Type"); t != "" {
		e.text += " " + printable(t, 40)
	}
	switch to := resp.Header.Get("Location"); {
	case to != "":
		e.text += ", redirects to " + printable(to, 100)
	case bytes.Contains(begin, []byte("HTTPS")) && r.URL.Scheme == "http":
		e.hint = "the endpoint speaks TLS: write it as https://…"
	case resp.StatusCode >= http.StatusBadGateway:
		e.hint = "a proxy or load balancer in front of the server may be in trouble; otherwise check endpoint="
	}
	return e
}

func isHTML(begin []byte) bool {
	begin = bytes.ToLower(begin)
	return bytes.HasPrefix(begin, []byte("<!doctype")) || bytes.HasPrefix(begin, []byte("<html"))
}

// notHTTP reports whether an error of net/http means that the other side does not speak HTTP. If the server sends the first message, as
// SSH does, the error can occur before the request is written (readLoopPeekFailLocked, for which net/http exports no error), while it is
// being written (the transport closes the connection during the write) or afterwards.
func notHTTP(err error) bool {
	text := err.Error()
	return strings.Contains(text, "malformed") || strings.Contains(text, "readLoopPeekFailLocked") || errors.Is(err, net.ErrClosed)
}

// printable makes foreign text safe for a log: one line without control characters, of at most limit bytes and an ellipsis.
func printable(text string, limit int) string {
	var out strings.Builder
	for _, r := range text {
		if out.Len() >= limit {
			out.WriteString("…")
			break
		}
		switch {
		case unicode.IsSpace(r):
			out.WriteByte(' ')
		case !unicode.IsPrint(r):
			out.WriteByte('.')
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
