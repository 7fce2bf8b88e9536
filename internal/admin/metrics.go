package admin

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
)

// metrics answers with the traffic process's metrics followed by the books process's, which have other names. While the
// books process is away its metrics are absent, which is what an absence alert looks for.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	var out bytes.Buffer
	families, err := s.opt.Gatherer.Gather()
	if err != nil {
		s.opt.Logger.Warn("gather metrics", "error", err)
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	encoder := expfmt.NewEncoder(&out, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			writeError(w, http.StatusInternalServerError, err.Error())
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if books, err := s.AskBooks(ctx, http.MethodGet, "/metrics"); err == nil {
		out.Write(books)
	}
	w.Header().Set("Content-Type", string(format))
	_, _ = w.Write(out.Bytes())
}
