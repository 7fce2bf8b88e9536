package books

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/admin"
	"github.com/wayside-proxy/wayside/internal/catalogue"
	"github.com/wayside-proxy/wayside/internal/datadir"
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

// logFormerArchives says in the log which archives, besides the one that is written to, hold objects of the catalogue: a start with another
// archive, or without naming the one that is meant, looks like any other.
func (b *books) logFormerArchives(ctx context.Context) error {
	objects := map[string]int{}
	err := plansOf(ctx, b.store, func(p *catalogue.Plan) error {
		if p.State != catalogue.Planned && p.ExpiredAt.IsZero() && !b.targets.IsCurrent(p.Target) {
			objects[p.Target]++
		}
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		b.log.Warn("objects of the catalogue are in another archive; it is read as well, and new objects go to the present one: if that is not meant, start with the other as --archive",
			"objects", objects[name], "other", name, "archive", b.targets.Current().String())
	}
	return err
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

// keepConfig writes into the data directory with which configuration its books are kept, for commands that come when no wayside runs
// there any more. The caller holds [datadir.CollectLock].
func keepConfig(cfg *configs.Config, version string, log *slog.Logger) {
	if err := datadir.WriteConfig(cfg.Data.Dir, datadir.Config{Version: version, Keys: cfg.LastRunKeys()}); err != nil {
		log.Warn("cannot write last-config.json; commands on this data directory need its configuration as flags or a file while wayside does not run", "error", err)
	}
}

// serveConfig answers with the configuration that the archive commands need.
func (b *books) serveConfig(w http.ResponseWriter, _ *http.Request) {
	kept := b.cfg.LastRunKeys()
	kept["archive.url"] = b.cfg.ArchiveURL() // also if it is the default, which depends on the directory
	reply(w, datadir.Config{Format: datadir.ConfigFormat, Version: b.version, Keys: kept}, nil)
}
