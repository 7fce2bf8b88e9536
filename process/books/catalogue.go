package books

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
)

// DecodePlans reads the answer of [admin.PathCatalogue].
func DecodePlans(r io.Reader) ([]catalogue.Plan, error) {
	var plans []catalogue.Plan
	for d := json.NewDecoder(bufio.NewReader(r)); ; {
		var p catalogue.Plan
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return plans, nil
		case err != nil:
			return nil, fmt.Errorf("answer of %s: %w", admin.PathCatalogue, err)
		}
		plans = append(plans, p)
	}
}

// catalogueTime bounds how long a client may take for the catalogue: a million plans take seconds.
const catalogueTime = 2 * time.Minute

// serveCatalogue streams every plan, a JSON object a line, without its blocks.
func (b *books) serveCatalogue(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), catalogueTime) // the store is being read meanwhile, however slow the client is
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	err := plansOf(ctx, b.store, func(p *catalogue.Plan) error { return out.Encode(p) })
	if err != nil {
		b.log.Warn("the catalogue was not sent to its end", "error", err)
		panic(http.ErrAbortHandler) // the reader must not take what came for the whole
	}
}
