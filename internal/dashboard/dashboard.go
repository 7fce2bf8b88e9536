// Package dashboard contains the files of the dashboard. The traffic process serves them, so the page loads, and can report the problem,
// even while the books process is not running. The books process can also serve them, for a data directory that no running wayside uses.
//
// The sources are in collector/api/dashboard; make dashboard builds them.
package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
)

//go:embed static
var static embed.FS

// file is a file in the forms in which it is served.
type file struct {
	contentType, etag string
	body, zipped      []byte
}

// kinds maps the path of each file to its content type.
var kinds = map[string]string{
	"/":                 "text/html; charset=utf-8",
	"/assets/app.js":    "text/javascript; charset=utf-8",
	"/assets/style.css": "text/css; charset=utf-8",
	"/assets/icon.svg":  "image/svg+xml",
}

// files returns the files by path. They are read and compressed at the first request.
var files = sync.OnceValue(func() map[string]file {
	out := make(map[string]file, len(kinds))
	for path, kind := range kinds {
		name := "static/index.html"
		if path != "/" {
			name = "static/" + path[strings.LastIndexByte(path, '/')+1:]
		}
		body, err := static.ReadFile(name)
		if err != nil {
			continue // cannot happen: the files are part of the binary, and a test requests each of them
		}
		sum := sha256.Sum256(body)
		var zipped bytes.Buffer
		w, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // fails only for an invalid level
		_, _ = w.Write(body)                                       // cannot fail: it writes to memory
		_ = w.Close()
		out[path] = file{kind, `"` + hex.EncodeToString(sum[:12]) + `"`, body, zipped.Bytes()}
	}
	return out
})

// Has reports whether the dashboard has a file at this path.
func Has(path string) bool { return kinds[path] != "" }

// Serve returns the response to a GET request for a file: status, fields and body. Its arguments are the path and the values of two
// header fields; several lines of one field must be joined by commas. A browser may cache the files, but must revalidate them each time.
// The body must not be modified.
func Serve(path, ifNoneMatch, acceptEncoding string) (status int, fields [][2]string, body []byte) {
	f, ok := files()[path]
	if !ok {
		return http.StatusNotFound, nil, nil
	}
	fields = [][2]string{{"Cache-Control", "no-cache"}, {"Etag", f.etag}, {"Vary", "Accept-Encoding"}}
	for tag := range strings.SplitSeq(ifNoneMatch, ",") {
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == f.etag {
			return http.StatusNotModified, fields, nil
		}
	}
	fields = append(fields, [2]string{"Content-Type", f.contentType})
	for part := range strings.SplitSeq(acceptEncoding, ",") {
		if name, q, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";"); name == "gzip" && q != "q=0" {
			return http.StatusOK, append(fields, [2]string{"Content-Encoding", "gzip"}), f.zipped
		}
	}
	return http.StatusOK, fields, f.body
}

// Script returns the script, for tests of its contents.
func Script() []byte { return files()["/assets/app.js"].body }
