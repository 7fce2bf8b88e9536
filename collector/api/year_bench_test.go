package api

import (
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/wayside-proxy/wayside/collector/store"
)

// BenchmarkYear queries a store from test/bench/year, in the directory WAYSIDE_YEAR.
func BenchmarkYear(b *testing.B) {
	dir := os.Getenv("WAYSIDE_YEAR")
	if dir == "" {
		b.Skip("WAYSIDE_YEAR names no store: go run ./test/bench/year -dir DIR makes one")
	}
	s, err := store.Open(store.Options{Dir: dir + "/store", QuarantineDir: dir + "/quarantine", ReserveBytes: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	now := time.Date(2026, 11, 23, 15, 20, 0, 0, time.UTC)
	h := NewHandler(Options{Rows: s, Now: func() time.Time { return now }})
	for name, target := range map[string]string{
		"day": "/api/v1/paths?limit=100", "series": "/api/v1/series?path=/api/v1/thing-500/%7Bid%7D&from=-90d",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if resp := get(b, h, target); resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status)
				}
			}
		})
	}
}
