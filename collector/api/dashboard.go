package api

import (
	"embed"
	"net/http"
	"strings"
)

// static holds the dashboard's files. dashboard/build.mjs builds them from dashboard/src; only icon.svg is not
// generated.
//
//go:embed static
var static embed.FS

// dashboard serves the files of the dashboard, and no other files.
func dashboard(mux *http.ServeMux) {
	for path, contentType := range map[string]string{
		"/{$}":              "text/html; charset=utf-8",
		"/assets/app.js":    "text/javascript; charset=utf-8",
		"/assets/style.css": "text/css; charset=utf-8",
		"/assets/icon.svg":  "image/svg+xml",
	} {
		file := "static/" + path[strings.LastIndexByte(path, '/')+1:]
		if path == "/{$}" {
			file = "static/index.html"
		}
		body, err := static.ReadFile(file)
		if err != nil {
			continue // cannot happen: the files are part of the binary, and a test requests each of them
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(body)
		})
	}
}
