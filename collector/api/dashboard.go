package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/wayside-proxy/wayside/internal/dashboard"
)

// serveDashboard serves the files of the dashboard. The traffic process serves the same responses.
func serveDashboard(w http.ResponseWriter, r *http.Request) {
	status, fields, body := dashboard.Serve(r.URL.Path, strings.Join(r.Header.Values("If-None-Match"), ","), strings.Join(r.Header.Values("Accept-Encoding"), ","))
	for _, field := range fields {
		w.Header().Set(field[0], field[1])
	}
	if status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // a file of the program; if writing fails, the client has disconnected
	}
}
