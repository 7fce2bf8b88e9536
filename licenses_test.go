package wayside

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/build"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite THIRD_PARTY_LICENSES")

// listed is what go list says of a package.
type listed struct {
	Dir    string
	Module *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linked returns the packages of other modules that are in the binary.
func linked(t *testing.T) (packages []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module", "./cmd/wayside")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF { //nolint:errorlint // as documented
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main {
			packages = append(packages, p)
		}
	}
}

// licenceFiles are the licences and notices in a folder.
func licenceFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		for _, prefix := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if e.Type().IsRegular() && strings.HasPrefix(upper, prefix) && !strings.HasSuffix(upper, ".GO") {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
	}
	return names
}

// collect gives each text with the places it is from; most are the same few texts.
func collect(t *testing.T) map[string][]string {
	t.Helper()
	from := map[string][]string{}
	add := func(what, name string) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		if !slices.Contains(from[key], what) {
			from[key] = append(from[key], what)
		}
	}
	for _, name := range licenceFiles(t, build.Default.GOROOT) {
		add("Go, "+filepath.Base(name), name)
	}
	licensed := map[string]bool{}
	for _, p := range linked(t) {
		for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir); dir = filepath.Dir(dir) { // code that was taken from elsewhere has its own beside it
			for _, name := range licenceFiles(t, dir) {
				rel, _ := filepath.Rel(p.Module.Dir, name)
				add(fmt.Sprintf("%s %s, %s", p.Module.Path, p.Module.Version, rel), name)
				licensed[p.Module.Path] = true
			}
		}
		if !licensed[p.Module.Path] {
			t.Errorf("%s has no licence that could be found", p.Module.Path)
		}
	}
	var dashboard struct{ Dependencies map[string]string }
	text, err := os.ReadFile("collector/api/dashboard/package.json")
	if err = errors.Join(err, json.Unmarshal(text, &dashboard)); err != nil || len(dashboard.Dependencies) != 1 {
		t.Fatal("what is the dashboard built from?", dashboard, err)
	}
	add("uPlot "+dashboard.Dependencies["uplot"]+" (in the dashboard), LICENSE", "collector/api/dashboard/LICENSE.uPlot")
	return from
}

// TestThirdPartyLicenses: the file holds the licences and notices of exactly what is linked; a changed go.mod changes it.
func TestThirdPartyLicenses(t *testing.T) {
	from := collect(t)
	var texts []string
	for text, places := range from {
		slices.Sort(places)
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int { return strings.Compare(from[a][0], from[b][0]) })
	var out strings.Builder
	out.WriteString("What wayside is built from, with licences and notices. Each text follows the names of those that it is of.\n")
	for _, text := range texts {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 100), strings.Join(from[text], "\n"), text)
	}
	if *update {
		if err := os.WriteFile("THIRD_PARTY_LICENSES", []byte(out.String()), 0o644); err != nil { //nolint:gosec // for everyone
			t.Fatal(err)
		}
		return
	}
	if ThirdParty != out.String() {
		t.Error("THIRD_PARTY_LICENSES does not fit go.mod: go test . -run TestThirdPartyLicenses -update")
	}
}
