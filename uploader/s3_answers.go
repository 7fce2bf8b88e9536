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

// s3Only hands on what an S3 server may have answered, and turns everything else into an error before it is parsed: a web server, a
// login page or a proxy behind the endpoint must be called by its name, and nothing of what it sent may reach a log.
type s3Only struct{ next http.RoundTripper }

// foreignError is an answer that no S3 server gives, in one line.
type foreignError struct{ text, hint string }

func (e *foreignError) Error() string { return e.text }

// hintNotFound is what may be wrong when a server says 404 and means no object.
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

// peekBytes is how much of an answer is looked at.
const peekBytes = 512

// peek returns the beginning of an answer, which stays readable. Objects are left alone: their first bytes are their own.
func peek(resp *http.Response) []byte {
	if resp.StatusCode/100 == 2 && resp.Header.Get("Etag") != "" || resp.Body == http.NoBody {
		return nil
	}
	buffered := bufio.NewReaderSize(resp.Body, peekBytes)
	begin, _ := buffered.Peek(peekBytes) // what is missing is missing to the next reader too
	resp.Body = struct {
		io.Reader
		io.Closer
	}{buffered, resp.Body}
	return bytes.TrimSpace(bytes.TrimPrefix(begin, []byte("\xef\xbb\xbf")))
}

// foreign says what is wrong with an answer, or nil.
func foreign(r *http.Request, resp *http.Response, begin []byte) *foreignError {
	server := r.URL.Scheme + "://" + r.URL.Host
	xml := bytes.HasPrefix(begin, []byte("<")) && !isHTML(begin)
	html := strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html") && !xml
	head, ok := r.Method == http.MethodHead, resp.StatusCode/100 == 2
	list := r.Method == http.MethodGet && r.URL.Query().Has("list-type")
	switch {
	case html, isHTML(begin):
	case ok && list && !bytes.Contains(begin, []byte("<ListBucketResult")): // any other XML would pass for an empty list
	case ok && !list && r.Method == http.MethodPut && resp.Header.Get("Etag") == "":
	case ok && !list && (head || r.Method == http.MethodGet) && resp.Header.Get("Last-Modified") == "":
	case !ok && !head && len(begin) > 0 && !xml:
	case resp.StatusCode == http.StatusNotFound && !head && len(begin) == 0:
		return &foreignError{server + " answers HTTP 404 and does not say what is missing", hintNotFound}
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
		e.hint = "a proxy or load balancer in front of the server may be in trouble; else check endpoint="
	}
	return e
}

func isHTML(begin []byte) bool {
	begin = bytes.ToLower(begin)
	return bytes.HasPrefix(begin, []byte("<!doctype")) || bytes.HasPrefix(begin, []byte("<html"))
}

// notHTTP says whether an error of net/http means that the other side does not speak HTTP. What speaks first, as SSH does, may be met
// before the request is written (readLoopPeekFailLocked, for which net/http has no exported error), while it is being written (the transport
// closes the connection under the writer) or after.
func notHTTP(err error) bool {
	text := err.Error()
	return strings.Contains(text, "malformed") || strings.Contains(text, "readLoopPeekFailLocked") || errors.Is(err, net.ErrClosed)
}

// printable is text from elsewhere as it may be written into a log: one line without control characters, at most limit bytes and
// an ellipsis.
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
