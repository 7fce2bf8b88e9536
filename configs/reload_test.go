package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "wayside.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(LoadOptions{File: file})
}

func TestReloadSortsWhatChanged(t *testing.T) {
	now, err := loadText(t, "upstream: http://127.0.0.1:3000\nspool: {segments: 8}\n")
	if err != nil {
		t.Fatal(err)
	}
	next, err := loadText(t, `
listen: 127.0.0.1:9999
upstream: http://127.0.0.1:3001
spool: {segments: 16}
archive: {after: 2h}
log: {level: debug}
proxy:
  trusted_proxies: [10.0.0.0/8]
  header_bytes_max: 64KiB
  request_fields: {set: ["X-Env: prod"]}
`)
	if err != nil {
		t.Fatal(err)
	}
	merged, change := Reload(now, next)
	want := Change{
		Traffic: []string{"upstream", "proxy.header_bytes_max", "proxy.trusted_proxies", "proxy.request_fields.set"},
		Books:   []string{"archive.after", "log.level"},
		Restart: []string{"listen", "spool.segments"},
	}
	if diff := cmp.Diff(want, change); diff != "" {
		t.Error(diff)
	}
	if merged.Upstream[0] != next.Upstream[0] || merged.Listen != now.Listen || merged.Spool.Segments != 8 || next.Listen == now.Listen {
		t.Errorf("merged: %s, %s, %d", merged.Upstream, merged.Listen, merged.Spool.Segments)
	}
	if books := next.ForBooks(); books.Upstream != nil || books.Proxy.HeaderBytesMax != Default().Proxy.HeaderBytesMax || books.Archive.After != next.Archive.After {
		t.Errorf("the books process is given %+v", books)
	}
	if _, none := Reload(merged, merged); len(none.Traffic)+len(none.Books)+len(none.Restart) != 0 {
		t.Errorf("nothing changed, and yet %+v", none)
	}
}

func TestFieldRules(t *testing.T) {
	for _, good := range []string{`set: ["X-Env: prod, test"]`, `add: ["Via: 1.1 here"]`, `remove: [Server, X-Powered-By]`, `set: ["Host: inner.example"]`} {
		if _, err := loadText(t, "proxy:\n  request_fields: {"+good+"}\n"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		`set: ["X-Env"]`, `set: ["X Env: a"]`, `add: ["X-A: b\r\nX-C: d"]`, `remove: ["X-Env: a"]`, `set: ["Content-Length: 3"]`,
		`remove: [transfer-encoding]`, `remove: [Host]`, `add: ["host: b"]`, `set: [": a"]`,
	} {
		_, err := loadText(t, "proxy:\n  request_fields: {"+bad+"}\n")
		if err == nil || !strings.Contains(err.Error(), ":2:") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
