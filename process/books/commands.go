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
	"github.com/wayside-proxy/wayside/uploader"
)

// DecodePlans reads the response of [admin.PathCatalogue].
func DecodePlans(r io.Reader) ([]catalogue.Plan, error) {
	var plans []catalogue.Plan
	for d := json.NewDecoder(bufio.NewReader(r)); ; {
		var p catalogue.Plan
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return plans, nil
		case err != nil:
			return nil, fmt.Errorf("read the response of %s: %w", admin.PathCatalogue, err)
		}
		plans = append(plans, p)
	}
}

// logFormerArchives logs the former archives that have objects in the catalogue. Without this, it could go unnoticed that wayside
// was started with the wrong archive, or with no archive named.
func (b *books) logFormerArchives(ctx context.Context) error {
	objects := map[string]int{}
	err := plansOf(ctx, b.store, func(p *catalogue.Plan) error {
		if p.State != catalogue.Planned && p.ExpiredAt.IsZero() && !b.targets.IsCurrent(p.Target) {
			objects[p.Target]++
		}
		return nil
	})
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		b.log.Warn("some objects in the catalogue are in another archive; wayside reads that archive, too, but sends new objects to the current one: if this is not intended, start with the other archive as --archive",
			"objects", objects[name], "other", uploader.Rebase(name, b.cfg.Data.Dir, ""), "archive", b.targets.Current().String())
	}
	return err
}

// catalogueTime limits how long a client may take to receive the catalogue. Sending a million plans takes only seconds.
const catalogueTime = 2 * time.Minute

// serveCatalogue streams every plan without its blocks, one JSON object per line.
func (b *books) serveCatalogue(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), catalogueTime) // a slow client must not keep the store open for reading
	defer cancel()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	err := plansOf(ctx, b.store, func(p *catalogue.Plan) error { return out.Encode(p) })
	if err != nil {
		b.log.Warn("cannot send the whole catalogue; the client sees an aborted response", "error", err)
		panic(http.ErrAbortHandler) // otherwise, the client would mistake the part that it has received for the whole catalogue
	}
}

// keepConfig writes the books process's configuration to the data directory, for commands that are run while wayside is not running. The
// caller must hold [datadir.CollectLock].
func keepConfig(cfg *configs.Config, version string, log *slog.Logger) {
	if err := datadir.WriteConfig(cfg.Data.Dir, datadir.Config{Version: version, Keys: cfg.LastRunKeys()}); err != nil {
		log.Warn("cannot write last-config.json; while wayside is not running, commands on this data directory must be given the configuration in flags or a file",
			"error", err)
	}
}

// serveConfig sends the configuration that the archive commands need.
func (b *books) serveConfig(w http.ResponseWriter, _ *http.Request) {
	kept := b.cfg.LastRunKeys()
	kept["archive.url"] = b.cfg.ArchiveURL() // even if it is the default, because that depends on the directory
	reply(w, datadir.Config{Format: datadir.ConfigFormat, Version: b.version, Keys: kept}, nil)
}
