package books

import (
	"log/slog"
	"testing"

	"github.com/wayside-proxy/wayside/configs"
)

// TestBooksThatCannotBeBuilt: an error that occurs after the store has been opened is returned, and the store is closed.
func TestBooksThatCannotBeBuilt(t *testing.T) {
	cfg, err := configs.Load(configs.LoadOptions{Flags: map[string]string{"data.dir": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	good := cfg.Archive.URL
	cfg.Archive.URL = "s3://b" // Check refuses this in a configuration that is loaded from a file
	if Check(cfg) == nil {
		t.Error("the bucket is accepted")
	}
	if b, err := open(t.Context(), cfg, nil, slog.New(slog.DiscardHandler)); err == nil || b != nil {
		t.Fatalf("%v, %v", b, err)
	}
	cfg.Archive.URL = good
	b, err := open(t.Context(), cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}
