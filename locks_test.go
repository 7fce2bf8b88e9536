package wayside

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNodeLockFiles: each lock file has every package that another one in it names, the optional ones of other machines included: npm ci
// refuses it otherwise. And no package comes from anywhere but the public registry.
func TestNodeLockFiles(t *testing.T) {
	names, err := filepath.Glob("test/archive/*/package-lock.json")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var lock struct {
			Packages map[string]struct {
				Resolved     string            `json:"resolved"`
				Dependencies map[string]string `json:"dependencies"`
				Optional     map[string]string `json:"optionalDependencies"`
			} `json:"packages"`
		}
		if err := json.Unmarshal(text, &lock); err != nil {
			t.Fatal(name, err)
		}
		for path, p := range lock.Packages {
			if p.Resolved != "" && !strings.HasPrefix(p.Resolved, "https://registry.npmjs.org/") {
				t.Errorf("%s: %s comes from %s", name, path, p.Resolved)
			}
			for _, needed := range []map[string]string{p.Dependencies, p.Optional} {
				for other := range needed {
					if _, ok := lock.Packages["node_modules/"+other]; !ok {
						t.Errorf("%s: %s, which %q needs, is not in it: npm install --package-lock-only", name, other, path)
					}
				}
			}
		}
	}
}
