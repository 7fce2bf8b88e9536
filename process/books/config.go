package books

import (
	"log/slog"
	"net/http"

	"github.com/wayside-proxy/wayside/configs"
	"github.com/wayside-proxy/wayside/internal/datadir"
)

// keepConfig writes into the data directory with which configuration its books are kept, for commands that come when no wayside runs
// there any more. The caller holds [datadir.CollectLock].
func keepConfig(cfg *configs.Config, version string, log *slog.Logger) {
	if err := datadir.WriteConfig(cfg.Data.Dir, datadir.Config{Version: version, Keys: cfg.Kept()}); err != nil {
		log.Warn("commands on this data directory have to be told its configuration when wayside does not run", "error", err)
	}
}

// serveConfig answers with the configuration that the archive commands need.
func (b *books) serveConfig(w http.ResponseWriter, _ *http.Request) {
	kept := b.cfg.Kept()
	kept["archive.url"] = b.cfg.ArchiveURL() // also if it is the default, which depends on the directory
	reply(w, datadir.Config{Format: datadir.ConfigFormat, Version: b.version, Keys: kept}, nil)
}
